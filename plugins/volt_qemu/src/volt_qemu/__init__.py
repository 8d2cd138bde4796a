"""Volt plugin: qemu."""
