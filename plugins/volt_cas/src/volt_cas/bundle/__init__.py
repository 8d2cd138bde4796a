"""Trees as one file: the format, writing and reading it, and what it does with a store."""
