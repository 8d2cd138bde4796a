"""Counting what a store holds."""

from __future__ import annotations

from pathlib import Path

from volt_cas.browse import bottom_up
from volt_cas.layout import Layout, addressed, digest_bytes
from volt_cas.mounts import room
from volt_cas.objects import read_tree
from volt_cas.record import DirectoryEntry, FileEntry
from volt_cas.refs import Refs
from volt_core.contracts import Usage
from volt_core.errors import StoreError

_MOST = 2**63 - 1
"""What a reader of the counts can hold; a tree of a few records may claim more."""


def usage(layout: Layout, refs: Refs) -> Usage:
    """Return the counts; sizes are those of the content, holes included."""
    objects, object_bytes = _count(layout.objects)
    variants, variant_bytes = _count(layout.variants)
    trees, tree_bytes = _count(layout.trees)
    named = list(refs.list())
    info = room(layout.path)
    sizes: dict[bytes, int] = {}
    referenced = sum(content_bytes(layout, digest_bytes(ref.digest), sizes) for ref in named)
    return Usage(
        objects=objects,
        object_bytes=object_bytes,
        variants=variants,
        variant_bytes=variant_bytes,
        trees=trees,
        tree_bytes=tree_bytes,
        refs=len(named),
        referenced_bytes=min(referenced, _MOST),
        links=sum(1 for _ in layout.linked()),
        free_bytes=info.f_bavail * info.f_frsize,
    )


def _count(folder: Path) -> tuple[int, int]:
    sizes = [entry.stat(follow_symlinks=False).st_size for _, entry in addressed(folder)]
    return len(sizes), sum(sizes)


def content_bytes(layout: Layout, digest: bytes, sizes: dict[bytes, int]) -> int:
    """Return what the files of a tree have; `sizes` has that of the directory records that were seen."""
    try:
        top = read_tree(layout, digest).digest
        for found, record in bottom_up(layout, top, sizes):
            sizes[found] = sum(
                entry.size if isinstance(entry, FileEntry) else sizes[entry.digest]
                for entry in record.entries
                if isinstance(entry, FileEntry | DirectoryEntry)
            )
        return sizes[top]
    except StoreError:
        return 0  # the damage is for verify to tell
