"""What a container is called outside of Volt: its unit and its machine."""

from __future__ import annotations

import hashlib

from volt_core.paths import VoltPaths

_MACHINE_LENGTH = 64
_HASH_LENGTH = 8


def unit_name(paths: VoltPaths, name: str) -> str:
    """Return the name of a container's unit."""
    return f"{_prefix(paths)}{name}.service"


def unit_pattern(paths: VoltPaths) -> str:
    """Return what the units of all containers of the instance match."""
    return f"{_prefix(paths)}*.service"


def machine_name(paths: VoltPaths, name: str) -> str:
    """Return the name for systemd-machined: at most 64 characters.

    A container's name holds no dot, so the machines of two instances never have the same name.
    """
    if not paths.instance:
        return name
    room = _MACHINE_LENGTH - len(paths.instance) - 1
    if len(name) > room:
        digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
        name = f"{name[: room - _HASH_LENGTH - 1]}-{digest}"
    return f"{name}.{paths.instance}"


def _prefix(paths: VoltPaths) -> str:
    return f"volt-{paths.instance}-container-" if paths.instance else "volt-container-"
