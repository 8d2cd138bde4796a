"""The room that a store takes: whole blocks of all of it, and what each ref adds."""

from __future__ import annotations

import os

from volt_cas.layout import Layout, digest_bytes
from volt_cas.mounts import room
from volt_cas.objects import read_record
from volt_cas.record import DirectoryEntry, DirectoryRecord, FileEntry, TreeRecord
from volt_cas.refs import Refs
from volt_core.contracts import RefSpace, Space
from volt_core.errors import StoreError

_SHARED = -1


def space(layout: Layout, refs: Refs) -> Space:
    """Measure; damage counts as nothing, it is for verify to tell."""
    info = room(layout.path)
    return Space(
        free_bytes=info.f_bavail * info.f_frsize,
        total_bytes=info.f_blocks * info.f_frsize,
        allocated_bytes=_allocated(layout),
        refs=_Shares(layout).of(refs),
    )


def _allocated(layout: Layout) -> int:
    """Return the blocks of everything below the store, in bytes, each inode once."""
    blocks: dict[tuple[int, int], int] = {}
    if not layout.exists():
        return 0
    for _, _, names, folder in os.fwalk(layout.path):  # what its owner may not read is passed over
        for name in (*names, "."):
            try:
                info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue
            blocks[info.st_dev, info.st_ino] = info.st_blocks
    return sum(blocks.values()) * 512


class _Shares:
    """Whose each object is: of the one ref that reaches it, or of several."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._objects: dict[bytes, tuple[int, int]] = {}
        """Owner and size."""
        self._records: dict[bytes, int] = {}

    def of(self, refs: Refs) -> tuple[RefSpace, ...]:
        named = list(refs.list())
        for number, ref in enumerate(named):
            self._reach(digest_bytes(ref.digest), number)
        unique = [0] * len(named)
        for owner, size in self._objects.values():
            if owner != _SHARED:
                unique[owner] += size
        sizes: dict[str, int] = {}
        for ref in named:
            if ref.digest not in sizes:
                sizes[ref.digest] = self._size(digest_bytes(ref.digest))
        return tuple(
            RefSpace(name=ref.name, digest=ref.digest, bytes=sizes[ref.digest], unique_bytes=unique[number])
            for number, ref in enumerate(named)
        )

    def _reach(self, top: bytes, number: int) -> None:
        """Note what a ref reaches; what another one reached before is shared, with all that is below it."""
        pending = [(top, number)]
        while pending:
            digest, owner = pending.pop()
            known = self._records.get(digest)
            if known is not None and known != number:
                owner = _SHARED
            if known == owner:
                continue
            self._records[digest] = owner
            for child in self._children(digest):
                if isinstance(child, FileEntry):
                    known_owner, _ = self._objects.get(child.digest, (owner, 0))
                    shared = owner == _SHARED or known_owner != number
                    self._objects[child.digest] = (_SHARED if shared else owner, child.size)
                else:
                    pending.append((child, owner))

    def _size(self, top: bytes) -> int:
        """Return the content bytes that a tree reaches, each object once."""
        pending, seen = [top], {top}
        found: dict[bytes, int] = {}
        while pending:
            for child in self._children(pending.pop()):
                if isinstance(child, FileEntry):
                    found[child.digest] = child.size
                elif child not in seen:
                    seen.add(child)
                    pending.append(child)
        return sum(found.values())

    def _children(self, digest: bytes) -> list[FileEntry | bytes]:
        try:
            record = read_record(self._layout, digest)
        except StoreError:
            return []
        if isinstance(record, TreeRecord):
            return [record.digest]
        if isinstance(record, DirectoryRecord):
            return [
                entry if isinstance(entry, FileEntry) else entry.digest
                for entry in record.entries
                if isinstance(entry, FileEntry | DirectoryEntry)
            ]
        return []
