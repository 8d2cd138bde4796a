"""Volt plugin: containers under systemd-nspawn."""
