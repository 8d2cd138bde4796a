"""Where something is mounted, and how much room is there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ESCAPED = rb"\\([0-7]{3})"


class _Mount(NamedTuple):
    root: bytes
    """What of its file system is mounted."""
    point: bytes
    kind: str
    """Of the file system."""


def mount_points_below(root: int) -> frozenset[bytes]:
    """Return the mount points below an open directory, as paths relative to it.

    Device numbers would not do: a bind mount has that of its source, and on an overlay each file that of its layer.
    """
    top = os.readlink(b"/proc/self/fd/%d" % root).rstrip(b"/") + b"/"
    points = (mount.point for mount in _mounts())
    return frozenset(point.removeprefix(top) for point in points if point.startswith(top) and point != top)


def file_system(path: Path) -> str:
    """Return the type of the file system that `path` is or will be on."""
    path = path.absolute()
    best, kind = b"", "this file system"
    for mount in _mounts():
        if path.is_relative_to(os.fsdecode(mount.point)) and len(mount.point) >= len(best):
            best, kind = mount.point, mount.kind
    return kind


def root_at(path: Path) -> bytes:
    """Return what of its file system is mounted at this real path, on top; empty if it is no mount point."""
    found = b""
    for mount in _mounts():
        if mount.point == os.fsencode(path):
            found = mount.root
    return found


def mounted_links() -> str:
    """Return the mount tables of all mount namespaces that this process may look into, as one text.

    The digest of a linked tree in it means that the tree is mounted: as a bind, or as a layer of an overlay.
    """
    return "\n".join(_mount_tables())


def _mount_tables() -> Iterator[str]:
    seen = set()
    for process in ("self", *(name for name in os.listdir("/proc") if name.isdigit())):
        try:
            namespace = os.readlink(f"/proc/{process}/ns/mnt")
            if namespace not in seen:
                seen.add(namespace)
                yield Path(f"/proc/{process}/mountinfo").read_text(errors="replace")
        except OSError:  # it has ended, or it is another user's
            if process == "self":
                raise


def room(path: Path) -> os.statvfs_result:
    """Ask the file system that `path` is or will be on how much room it has."""
    while not path.exists():
        path = path.parent
    return os.statvfs(path)


def _mounts() -> Iterator[_Mount]:
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        root, point = fields.split()[3:5]
        yield _Mount(_unescaped(root), _unescaped(point), os.fsdecode(rest.split()[0]))


def _unescaped(path: bytes) -> bytes:
    return re.sub(_ESCAPED, lambda match: bytes([int(match[1], 8)]), path)
