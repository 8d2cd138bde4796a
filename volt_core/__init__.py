"""Volt: containers, virtual machines and services on one Linux machine, as ordinary systemd units.

This package is the core. It knows no backend: those come from plugins that register
themselves through the entry-point group ``volt``. Kept free of imports, because
``volt --version`` must cost little more than the interpreter itself.
"""

__version__ = "0.1.0"

API_VERSION = (0, 1)
"""Major and minor version of what plugins are written against: hooks, contracts, models. Rules: ``docs/hooks.md``."""
