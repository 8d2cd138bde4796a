"""The file ``env`` of a workload: variables as ``NAME=VALUE``, each ended by a null byte.

It is the form of ``/proc/PID/environ``, which holds any value and which a static program reads without parsing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from volt_core import fs
from volt_core.errors import StateCorrupt

ENV_FILE = "env"


def write_env(folder: Path, env: Mapping[str, str]) -> None:
    """Write the variables to a workload's folder, readable by the owner alone: values may be secret."""
    data = b"".join(f"{name}={value}\0".encode("utf-8", "surrogateescape") for name, value in sorted(env.items()))
    fs.write_atomic(folder / ENV_FILE, data, mode=0o600)


def read_env(folder: Path) -> dict[str, str]:
    """Return the variables of a workload's folder.

    Raises FileNotFoundError, PermissionError, and :class:`StateCorrupt` for a file that is damaged.
    """
    path = folder / ENV_FILE
    data = path.read_bytes()
    if data and not data.endswith(b"\0"):
        return _read_json(path, data)
    words = data.decode("utf-8", "surrogateescape").split("\0")[:-1]
    if not all("=" in word for word in words):
        raise StateCorrupt(f"Environment file '{path}' is damaged: an entry has no '='")
    return dict(word.split("=", 1) for word in words)


def _read_json(path: Path, data: bytes) -> dict[str, str]:
    """Read what a Volt before the containers of systemd wrote: one JSON object."""
    try:
        return msgspec.json.decode(data, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateCorrupt(f"Environment file '{path}' is damaged: {error}") from error
