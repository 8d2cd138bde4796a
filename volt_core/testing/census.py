"""What there is on a machine: counted before and after, it shows what something has left behind.

``python -m volt_core.testing.census CGROUPS FOLDER...`` prints it as JSON, for counting on another machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from volt_core import run
from volt_core.systemd.machine import unified_mount

_PROC = Path("/proc")
_SECONDS = 30.0


class Census(msgspec.Struct, frozen=True):
    """Names of everything that a workload, or a host, may leave."""

    mounts: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]
    loops: frozenset[str]
    units: frozenset[str]
    files: frozenset[str]

    def left(self, later: Census) -> dict[str, set[str]]:
        """Return what a later census has that this one has not, by kind; nothing left is an empty dictionary."""
        grown = {kind: set(getattr(later, kind) - getattr(self, kind)) for kind in self.__struct_fields__}
        return {kind: names for kind, names in grown.items() if names}

    def lost(self, later: Census) -> dict[str, set[str]]:
        """Return what was there and is not any more."""
        return later.left(self)


def take_census(*, cgroups: Sequence[str] = ("*",), folders: Sequence[Path] = ()) -> Census:
    """Count what is there now.

    Args:
        cgroups: patterns of names of cgroups, at any depth; those that match are counted, with the processes in them
            and below. Processes elsewhere are somebody else's.
        folders: all that lies below them is counted, which need not exist.
    """
    found = {path for pattern in cgroups for path in unified_mount().rglob(pattern) if path.is_dir()}
    return Census(
        mounts=frozenset(_mounts()),
        cgroups=frozenset(map(str, found)),
        processes=frozenset(name for path in found for name in _processes(path)),
        loops=frozenset(_loops()),
        units=frozenset(_units()),
        files=frozenset(str(path) for folder in folders for path in folder.rglob("*")),
    )


def _mounts() -> Iterator[str]:
    for line in (_PROC / "self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        # Without the numbers in front, which others may be given after an unmount.
        before, _, after = line.partition(" - ")
        yield " ".join([*before.split()[3:5], *after.split()[:2]])


def _processes(cgroup: Path) -> Iterator[str]:
    for folder, _, _ in os.walk(cgroup):
        with contextlib.suppress(OSError):
            for pid in (Path(folder) / "cgroup.procs").read_text().split():
                yield f"{pid} {(_PROC / pid / 'comm').read_text().strip()}"


def _loops() -> Iterator[str]:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            yield f"{path.parts[3]} {path.read_text().strip()}"


def _units() -> Iterator[str]:
    if Path("/run/systemd/system").is_dir():
        argv = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "volt-*"]
        for line in run.run(argv, timeout=_SECONDS).stdout.decode().splitlines():
            yield line.split()[0]


if __name__ == "__main__":
    counted = take_census(cgroups=[sys.argv[1]], folders=[Path(folder) for folder in sys.argv[2:]])
    sys.stdout.buffer.write(msgspec.json.encode(counted))
