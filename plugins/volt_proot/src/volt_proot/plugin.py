"""Hook implementations."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.contracts import Backend
from volt_core.hookspecs import hookimpl
from volt_core.models.extension import Check

VOLT_API_VERSION = (0, 1)


@hookimpl
def volt_register_backends() -> Iterable[type[Backend]]:
    """Give the proot backend."""
    from volt_proot.backend import ProotBackend

    return [ProotBackend]


@hookimpl
def volt_register_checks() -> Iterable[Check]:
    """Say what proot can do on this host."""
    from volt_proot.probe import checks

    return list(checks())
