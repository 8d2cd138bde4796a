"""Entry point of volt-nspawn: registers the backend with Volt, and does nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.contracts import Backend
from volt_core.hookspecs import hookimpl
from volt_nspawn.backend import NspawnBackend


@hookimpl
def volt_register_backends() -> Iterable[type[Backend]]:
    """Return the one backend of this plugin."""
    return [NspawnBackend]
