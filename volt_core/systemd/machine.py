"""Processes of a unit whose main process is systemd-nspawn, as the host sees them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from volt_core import processes
from volt_core.errors import BackendUnavailable

_PROC = Path("/proc")


def find_leader(main_pid: int) -> int | None:
    """Return the first process of the container: PID 1 there, a child of nspawn's."""
    return next((pid for pid in _children(main_pid) if _inner_pid(pid) == 1), None)


def find_payload(leader: int, inner_pid: int) -> int | None:
    """Return the child of `leader` that the container knows as `inner_pid`."""
    return next((pid for pid in _children(leader) if _inner_pid(pid) == inner_pid), None)


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if there is none."""
    stat = processes.find_stat(pid)
    return stat.start if stat is not None else None


def cgroup_of(pid: int) -> Path:
    """Return the directory of a process's cgroup, in the unified hierarchy wherever that is mounted.

    Raises ProcessLookupError if the process is gone.
    """
    try:
        lines = (_PROC / str(pid) / "cgroup").read_text("ascii", "surrogateescape").splitlines()
    except FileNotFoundError as error:
        raise ProcessLookupError(f"process {pid} is gone") from error
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::")), None)
    if path is None:
        raise BackendUnavailable("This host has no unified cgroup hierarchy")
    return unified_mount() / path


def unified_mount() -> Path:
    """Return where the unified cgroup hierarchy is mounted. Raises :class:`BackendUnavailable` if it is nowhere."""
    for line in (_PROC / "self/mounts").read_text("ascii", "surrogateescape").splitlines():
        _, target, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            return Path(target)
    raise BackendUnavailable("This host has no unified cgroup hierarchy", hint="Mount cgroup2 at /sys/fs/cgroup.")


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in (_PROC / str(pid) / f"task/{pid}/children").read_text().split()]
    return []


def _inner_pid(pid: int) -> int | None:
    """Return the number of a process in its innermost pid namespace."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text("utf-8", "replace").splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None
