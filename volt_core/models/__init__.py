"""Frozen data that travels between the core, its plugins and the files on disk."""
