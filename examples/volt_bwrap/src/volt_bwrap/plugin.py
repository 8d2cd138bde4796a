"""Hook implementations. What they need is imported when they are called: asking for a list of plugins costs nothing."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.contracts import Backend
from volt_core.hookspecs import hookimpl
from volt_core.models.extension import Check

VOLT_API_VERSION = (0, 1)


@hookimpl
def volt_register_backends() -> Iterable[type[Backend]]:
    """Give the backend."""
    from volt_bwrap.backend import BwrapBackend

    return [BwrapBackend]


@hookimpl
def volt_register_checks() -> Iterable[Check]:
    """Say what bubblewrap can do on this host."""
    from volt_bwrap.probe import checks

    return list(checks())
