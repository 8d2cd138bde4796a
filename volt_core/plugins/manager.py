"""Builds the pluggy manager with Volt's hook specs."""

from __future__ import annotations

import sys

import pluggy

from volt_core.hookspecs import PROJECT, backend, cli, compose, lifecycle, storage

SPECS = (backend, storage, compose, lifecycle, cli)


def build_manager(*, trace: bool = False) -> pluggy.PluginManager:
    """Return a manager that knows all specs and no plugin; `trace` prints every hook call to stderr."""
    manager = pluggy.PluginManager(PROJECT)
    for module in SPECS:
        manager.add_hookspecs(module)
    if trace:
        manager.trace.root.setwriter(sys.stderr.write)
        manager.enable_tracing()
    return manager


def hook_names() -> tuple[str, ...]:
    """Return the names of all hooks, sorted."""
    return tuple(sorted(name for module in SPECS for name in vars(module) if name.startswith("volt_")))
