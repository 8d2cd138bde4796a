"""Volt plugin: nspawn."""
