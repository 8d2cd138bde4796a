"""Entry point of volt-qemu: registers the backend with Volt, and does nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.contracts import Backend
from volt_core.hookspecs import hookimpl
from volt_qemu.backend import QemuBackend

VOLT_API_VERSION = (0, 1)


@hookimpl
def volt_register_backends() -> Iterable[type[Backend]]:
    """Return the one backend of this plugin."""
    return [QemuBackend]
