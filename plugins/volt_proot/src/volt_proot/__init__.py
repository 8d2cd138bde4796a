"""Volt plugin: proot."""
