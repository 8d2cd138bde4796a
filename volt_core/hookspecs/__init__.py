"""The hooks: how plugins are found and how they extend the core. What does the work are the contracts."""

from volt_core.hookspecs.markers import PROJECT, hookimpl, hookspec

__all__ = ["PROJECT", "hookimpl", "hookspec"]
