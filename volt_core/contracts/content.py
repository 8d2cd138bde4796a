"""What is said about the content of stores: differences of trees, room that is taken, sources of good copies."""

from __future__ import annotations

import enum
from typing import BinaryIO, Protocol

import msgspec

from volt_core.contracts.entries import Entry


class ChangeKind(enum.StrEnum):
    """What became of a path from one tree to another."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Aspect(enum.StrEnum):
    """What of an entry changed."""

    TYPE = "type"
    CONTENT = "content"
    TARGET = "target"
    DEVICE = "device"
    MODE = "mode"
    OWNER = "owner"
    TIME = "time"
    XATTRS = "xattrs"
    HARDLINKS = "hardlinks"
    """Which other paths are the same inode."""


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One path that differs between two trees."""

    path: bytes
    kind: ChangeKind
    aspects: tuple[Aspect, ...] = ()
    """Of a changed entry, in the order of :class:`Aspect`."""
    before: Entry | None = None
    after: Entry | None = None


class RefSpace(msgspec.Struct, frozen=True, kw_only=True):
    """What one ref costs; content bytes."""

    name: str
    digest: str
    bytes: int
    """All that its tree reaches, each object once."""
    unique_bytes: int
    """What no other ref reaches: what would be free without this one."""


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """The room that a store takes, in bytes."""

    free_bytes: int
    total_bytes: int
    """Of the file system that it is on."""
    allocated_bytes: int
    """Whole blocks of everything in the store's folder, each inode once."""
    refs: tuple[RefSpace, ...] = ()


class ContentSource(Protocol):
    """Where a repair looks for good copies. What it gives is checked: it may well be wrong."""

    name: str
    """For people."""

    def find_object(self, digest: str, size: int) -> BinaryIO | None:
        """Return an open stream of what may be the content, which the caller closes, or None."""

    def find_record(self, digest: str) -> bytes | None:
        """Return what may be the tree record, or None."""
