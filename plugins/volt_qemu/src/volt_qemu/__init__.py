"""Volt plugin: virtual machines under QEMU."""
