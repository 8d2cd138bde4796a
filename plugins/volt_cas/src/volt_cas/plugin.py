"""Hook implementations of the plugin."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.contracts import Store
from volt_core.hookspecs import hookimpl
from volt_core.models.extension import Check, CommandGroup
from volt_core.paths import VoltPaths

VOLT_API_VERSION = (0, 1)


@hookimpl
def volt_register_stores() -> Iterable[type[Store]]:
    """Offer the content-addressed store."""
    from volt_cas.store import CasStore

    return (CasStore,)


@hookimpl
def volt_register_commands() -> Iterable[CommandGroup]:
    """Offer ``volt cas``, ``volt bundle`` and ``volt bench``."""
    return (
        CommandGroup(
            name="cas",
            help="Work with the content-addressed store.",
            target="volt_cas.commands.app:app",
            table="volt_cas.commands.table:TABLE",
        ),
        CommandGroup(
            name="bundle",
            help="Trees as one file: write, look into, check and import bundles.",
            target="volt_cas.bundle.commands:app",
        ),
        CommandGroup(name="bench", help="Measure Volt on this machine.", target="volt_cas.bench.commands:app"),
    )


@hookimpl
def volt_register_checks(paths: VoltPaths) -> Iterable[Check]:
    """Say what the store can do on this file system."""
    from volt_cas.checks import find_checks

    return find_checks(paths)
