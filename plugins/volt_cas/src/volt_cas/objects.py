"""Reading what is stored: objects and records by their digests."""

from __future__ import annotations

import os

from volt_cas import record
from volt_cas.layout import Layout, digest_text
from volt_cas.record import MAX_DEPTH, DirectoryRecord, LinksRecord, Record, TreeRecord
from volt_core.errors import ObjectCorrupt, ObjectMissing, StoreError

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # whatever lies there must not block


def open_object(layout: Layout, digest: bytes, size: int) -> int:
    """Return a descriptor of the content. Raises :class:`ObjectMissing` and :class:`ObjectCorrupt`."""
    try:
        descriptor = os.open(layout.object_path(digest), _READ)
    except FileNotFoundError as error:
        raise ObjectMissing(
            f"The store has no object {digest_text(digest)}",
            hint="Run 'volt cas verify' to see what is affected, then put the tree again.",
        ) from error
    except OSError as error:
        raise StoreError(f"Cannot read object {digest_text(digest)}: {error.strerror}") from error
    found = os.fstat(descriptor).st_size
    if found != size:
        os.close(descriptor)
        raise ObjectCorrupt(
            f"Object {digest_text(digest)} is damaged: it has {found} bytes instead of {size}",
            hint="Put the tree again: that replaces it.",
        )
    return descriptor


def read_record(layout: Layout, digest: bytes) -> Record:
    """Return a record. Raises :class:`ObjectMissing` and :class:`ObjectCorrupt`."""
    return record.decode(read_encoded(layout, digest), digest)


def read_encoded(layout: Layout, digest: bytes) -> bytes:
    """Return the bytes of a record, whatever they are. Raises :class:`ObjectMissing`."""
    try:
        return layout.read_tree_file(digest)
    except FileNotFoundError as error:
        raise ObjectMissing(
            f"The store has no tree record {digest_text(digest)}",
            hint="Run 'volt cas verify' to see what is affected, then put the tree again.",
        ) from error
    except OSError as error:
        raise StoreError(f"Cannot read tree record {digest_text(digest)}: {error.strerror}") from error


def read_tree(layout: Layout, digest: bytes) -> TreeRecord:
    """Return a top record. Raises also when the digest is that of a directory inside a tree."""
    try:
        found = read_record(layout, digest)
    except ObjectMissing as error:
        name = digest_text(digest)
        raise ObjectMissing(f"The store has no tree {name}", hint="'volt cas status' lists the refs.") from error
    if not isinstance(found, TreeRecord):
        raise ObjectMissing(f"{digest_text(digest)} is a part of a tree", hint="Name the tree's own digest.")
    return found


def read_groups(layout: Layout, tree: TreeRecord) -> dict[bytes, int]:
    """Return the number, from 1, of the hard-link group that each hard-linked path of the tree is in."""
    if tree.links is None:
        return {}
    found = read_record(layout, tree.links)
    if not isinstance(found, LinksRecord):
        raise ObjectCorrupt(f"Tree record {digest_text(tree.links)} is not that of hard links")
    return {path: number for number, group in enumerate(found.groups, 1) for path in group}


def read_directory(layout: Layout, digest: bytes, depth: int = 0) -> DirectoryRecord:
    """Return a directory record; `depth` counts the directories above it in the tree that is walked."""
    if depth >= MAX_DEPTH:
        raise ObjectCorrupt(f"Tree record {digest_text(digest)} is too deep: a tree has at most {MAX_DEPTH} levels")
    found = read_record(layout, digest)
    if not isinstance(found, DirectoryRecord):
        raise ObjectCorrupt(f"Tree record {digest_text(digest)} is not that of a directory")
    return found
