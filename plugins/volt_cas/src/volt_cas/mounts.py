"""Where something is mounted, from the mount table of this process."""

from __future__ import annotations

import os
import re
from pathlib import Path

_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mount_points_below(root: int) -> frozenset[bytes]:
    """Return the mount points below an open directory, as paths relative to it.

    Device numbers would not do: a bind mount has that of its source, and on an overlay each file that of its layer.
    """
    top = os.readlink(b"/proc/self/fd/%d" % root).rstrip(b"/") + b"/"
    points = (_unescaped(line.split()[4]) for line in Path("/proc/self/mountinfo").read_bytes().splitlines())
    return frozenset(point.removeprefix(top) for point in points if point.startswith(top) and point != top)


def file_system(path: Path) -> str:
    """Return the type of the file system that `path` is or will be on."""
    path = path.absolute()
    best, kind = "", "this file system"
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4].encode().decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind


def _unescaped(path: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), path)


def root_at(path: Path) -> bytes:
    """Return what of its file system is mounted at this real path, on top; empty if it is no mount point."""
    found = b""
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields = line.split()
        if _unescaped(fields[4]) == os.fsencode(path):
            found = _unescaped(fields[3])
    return found
