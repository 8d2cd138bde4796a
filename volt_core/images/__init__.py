"""Images: trees in the store with a name and a way to run them, and the sources they come from."""
