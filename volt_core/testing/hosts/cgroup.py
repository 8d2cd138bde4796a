"""The control groups of a host: made before it, so that whatever it starts is found, ended and counted there."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from volt_core.systemd.machine import unified_mount

_NAMED = Path("/sys/fs/cgroup/systemd")
"""systemd's own hierarchy of cgroup v1, where there is one: nspawn wants to be below it as well."""
_POLL = 0.02


def make_cgroups(name: str) -> list[Path]:
    """Make a host's cgroup in each hierarchy that systemd works with; the unified one comes first."""
    made = [mount / name for mount in (unified_mount(), _NAMED) if (mount / "cgroup.procs").exists()]
    for path in made:
        path.mkdir(exist_ok=True)
    return made


def end_cgroups(name: str, timeout: float) -> None:
    """Kill whatever runs in a host's cgroups, at once and as a whole, and remove them. None there is success.

    Raises TimeoutError if the kernel does not get rid of it.
    """
    deadline = time.monotonic() + timeout
    for path in (unified_mount() / name, _NAMED / name):
        while path.is_dir():
            with contextlib.suppress(OSError):
                (path / "cgroup.kill").write_text("1")
            for folder in _deepest_first(path):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes of '{path}' do not end: {sorted(processes_below(path))}")
            time.sleep(_POLL)


def processes_below(cgroup: Path) -> set[int]:
    """Return the processes of a cgroup and of all below it."""
    found: set[int] = set()
    for folder in _deepest_first(cgroup):
        with contextlib.suppress(OSError):
            found.update(map(int, (folder / "cgroup.procs").read_text().split()))
    return found


def _deepest_first(path: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(path, topdown=False):
        yield Path(folder)
