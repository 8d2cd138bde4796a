"""``volt cas``: the store by hand."""
