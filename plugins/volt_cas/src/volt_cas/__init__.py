"""Stellarium, the content-addressed store of Volt, as a plugin."""
