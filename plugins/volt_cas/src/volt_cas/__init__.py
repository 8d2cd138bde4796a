"""Volt plugin: cas."""
