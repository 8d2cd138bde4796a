"""The entries of stored trees."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec


class EntryType(enum.StrEnum):
    """Types of directory entries, by the letters of ``find -type``."""

    FILE = "f"
    DIRECTORY = "d"
    SYMLINK = "l"
    CHARACTER = "c"
    BLOCK = "b"
    FIFO = "p"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a stored tree."""

    path: bytes
    """Relative to the tree's root; empty for the root itself."""
    type: EntryType
    mode: int
    """Permission bits with set-uid, set-gid and sticky: 0 to 0o7777."""
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0
    digest: str = ""
    """Of a file's content, or of a directory's record."""
    target: bytes = b""
    device: tuple[int, int] | None = None
    """Major and minor number."""
    xattrs: Mapping[str, bytes] = {}
    hardlink_group: int = 0
    """Entries of one tree with the same number above 0 are one inode. Numbers are counted per tree."""
