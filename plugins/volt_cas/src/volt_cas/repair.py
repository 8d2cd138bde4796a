"""Repair: good copies, wherever they are found, in the place of what is damaged or missing.

A repaired object is another inode, put in place by rename; so the linked checkouts that have the damaged one are
made anew, and where that cannot be, because one is mounted or is not the store's, the report says so. What has no
good copy is moved to ``quarantine/``: a put would take it for what its name says. gc empties that folder.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from volt_cas import below, record
from volt_cas.layout import DIGEST_SIZE, Layout, addressed, digest_bytes, digest_text, fan_out
from volt_cas.links import find_difference, linked_tree
from volt_cas.mounts import mounted_links
from volt_cas.objects import read_record
from volt_cas.record import DirectoryEntry, DirectoryRecord, FileEntry, Record, TreeRecord
from volt_cas.refs import Refs
from volt_cas.sparse import PIECE
from volt_cas.staging import open_staging
from volt_cas.verify import Verification
from volt_cas.writer import Writer
from volt_core import native
from volt_core.contracts import ContentSource, Progress, Ref
from volt_core.errors import Locked, StateError, StoreError


class Repair:
    """Records, objects and variants; the caller keeps gc away. Linked checkouts: :func:`make_links_anew`."""

    def __init__(
        self,
        layout: Layout,
        found: Verification,
        writer: Writer,
        sources: Sequence[ContentSource],
        progress: Progress,
    ) -> None:
        self._layout = layout
        self._found = found
        self._writer = writer
        self._sources = sources
        self._progress = progress
        self._wanted: dict[bytes, FileEntry] = {}
        self._seen: set[bytes] = set()
        self._lines: dict[bytes, str] = {}
        self._good_trees: list[bytes] = []
        self._good_objects: list[bytes] = []

    def run(self, refs: Iterable[Ref | StateError]) -> None:
        """Find copies for all that is damaged or that one of the refs misses, and put them in place.

        The refs were read before the objects: what a put adds meanwhile is not missing.
        """
        for ref in refs:
            if isinstance(ref, Ref):
                self._complete(digest_bytes(ref.digest))
        for digest in list(self._found.bad_trees):
            self._complete(digest)
        self._look_for_users()
        self._progress.begin("Repairing", sum(entry.size for entry in self._wanted.values()))
        elsewhere = self._count_names_elsewhere()
        for digest, entry in self._wanted.items():
            self._writer.distrust(digest)
            where = self._copy(entry)
            if where:
                self._good_objects.append(digest)
                self._lines[digest] = f"object {digest_text(digest)}: replaced by a copy from {where}"
                if elsewhere[digest]:
                    self._lines[digest] += (
                        f"; {elsewhere[digest]} files of checkouts by --link still have the damaged one: "
                        "make these checkouts anew"
                    )
            self._progress.advance(entry.size, 1)
        self._writer.publish()
        self._settle()

    def _settle(self) -> None:
        """Tell the verification what is right now, and put away what is not."""
        found = self._found
        found.repaired += self._lines.values()
        for digest in self._good_trees:
            found.bad_trees.pop(digest, None)
        for digest in self._good_objects:
            found.bad.pop(digest, None)
            found.sizes[digest] = self._wanted[digest].size
        for digest in list(found.bad):
            self._put_away(digest)
        for path, why in list(found.bad_variants.items()):
            digest = bytes.fromhex(path.replace("/", "")[: 2 * DIGEST_SIZE])
            if _is_wrong(self._layout.variants / path, digest):
                (self._layout.variants / path).unlink()
                del found.bad_variants[path]
                found.repaired.append(f"variant {path}: {why}; removed: it is made again where it is needed")
        # Only what is there now: a linked checkout that has the inode of something damaged must show.
        found.inodes = stored_inodes(self._layout)

    def _put_away(self, digest: bytes) -> None:
        """Move an object that stays damaged to where no put relies on it; what no tree has is removed.

        Only what is wrong, and still is, goes: another run may have replaced it, and a disk that does not read today
        may read tomorrow.
        """
        found = self._found
        path = self._layout.object_path(digest)
        is_wrong = digest in found.sizes and _is_wrong(path, digest)
        if digest not in self._wanted:
            if is_wrong:
                path.unlink()
                found.sizes.pop(digest)
                found.repaired.append(f"object {digest_text(digest)}: {found.bad.pop(digest)}; no tree has it: removed")
            return
        found.advice[digest] = "no good copy was found: put the tree again, or repair from another source"
        if is_wrong:
            self._layout.quarantine.mkdir(mode=0o700, exist_ok=True)
            os.rename(path, self._layout.quarantine / digest.hex())
            found.sizes.pop(digest)
            found.bad[digest] += f", now in quarantine/{digest.hex()}"

    def _complete(self, top: bytes) -> None:
        """Find the records that are damaged or missing below a record, and the objects that are missing."""
        pending = [top]
        while pending:
            digest = pending.pop()
            if digest in self._seen:
                continue
            self._seen.add(digest)
            value = self._record(digest)
            if isinstance(value, TreeRecord):
                pending += [value.digest] if value.links is None else [value.digest, value.links]
            elif isinstance(value, DirectoryRecord):
                for entry in value.entries:
                    if isinstance(entry, DirectoryEntry):
                        pending.append(entry.digest)
                    elif isinstance(entry, FileEntry) and entry.size:
                        self._want(entry)

    def _want(self, entry: FileEntry) -> None:
        if entry.digest in self._found.bad:
            self._wanted.setdefault(entry.digest, entry)
        elif entry.digest not in self._found.sizes and not self._layout.object_path(entry.digest).exists():
            self._found.bad[entry.digest] = "it is missing"
            self._wanted[entry.digest] = entry

    def _record(self, digest: bytes) -> Record | None:
        if digest not in self._found.bad_trees:
            with contextlib.suppress(StoreError):
                return read_record(self._layout, digest)
        for source in self._sources:
            with contextlib.suppress(StoreError):  # of a source that is damaged, or a record that nobody could read
                data = source.find_record(digest_text(digest))
                if data is None or record.address(data) != digest:
                    continue
                value = record.decode(data, digest)
                self._writer.add_record(value)
                self._good_trees.append(digest)
                self._lines[digest] = f"tree record {digest_text(digest)}: replaced by the one of {source.name}"
                return value
        return None

    def _look_for_users(self) -> None:
        """Find size and metadata of damaged objects that no ref names, but some tree does."""
        if self._found.bad.keys() <= self._wanted.keys():
            return
        for name, _ in addressed(self._layout.trees):
            digest = bytes.fromhex(name)
            if digest not in self._seen and digest not in self._found.bad_trees:
                with contextlib.suppress(StoreError):
                    value = read_record(self._layout, digest)
                    for entry in value.entries if isinstance(value, DirectoryRecord) else ():
                        if isinstance(entry, FileEntry) and entry.digest in self._found.bad:
                            self._wanted.setdefault(entry.digest, entry)

    def _copy(self, entry: FileEntry) -> str | None:
        """Stage a good copy; return where it came from."""
        for where, stream in self._candidates(entry):
            with stream, self._writer.stream() as target:
                left = entry.size + 1
                while left and (data := _read(stream, min(left, PIECE))):
                    target.write(data)
                    left -= len(data)
                if target.is_(entry.digest, entry.size):
                    target.finish(entry.metadata)
                    return where
        return None

    def _candidates(self, entry: FileEntry) -> Iterator[tuple[str, BinaryIO]]:
        name = fan_out(entry.digest)
        for path in sorted((self._layout.variants / name[:2]).glob(f"{name[3:]}.*")):
            if f"{name[:2]}/{path.name}" not in self._found.bad_variants:
                with contextlib.suppress(OSError):
                    yield "a variant", path.open("rb")
        for source in self._sources:
            stream = None
            with contextlib.suppress(StoreError):
                stream = source.find_object(digest_text(entry.digest), entry.size)
            if stream is not None:
                yield source.name, stream

    def _count_names_elsewhere(self) -> Counter[bytes]:
        """Count the names that damaged objects have outside the store."""
        found: Counter[bytes] = Counter()
        inodes: dict[int, bytes] = {}
        for digest in self._wanted:
            with contextlib.suppress(OSError):
                info = self._layout.object_path(digest).stat()
                if info.st_nlink > 1:
                    found[digest] = info.st_nlink - 1
                    inodes[info.st_ino] = digest
        for _, path in self._layout.linked() if inodes else ():
            for inode in below.file_inodes(path):
                if inode in inodes:
                    found[inodes[inode]] -= 1
        return found


def make_links_anew(layout: Layout, refs: Refs, found: Verification) -> None:
    """Make the linked checkouts anew that are not their trees, but for those that are mounted."""
    try:
        with layout.exclusive():
            mounted = mounted_links()
            wanted = {digest_bytes(ref.digest) for ref in refs.list()}
            found.inodes = stored_inodes(layout)
            for digest, why in list(found.bad_links.items()):
                if not _is_other(layout, digest, found.inodes):
                    continue
                if digest.hex() in mounted:
                    found.bad_links[digest] = f"{why}; it is mounted: stop what uses it, then repair again"
                elif _make_anew(layout, digest, found, is_wanted=digest in wanted):
                    del found.bad_links[digest]
    except Locked as error:
        for digest, why in found.bad_links.items():
            found.bad_links[digest] = f"{why}; {error.brief}: repair again later"


def _make_anew(layout: Layout, digest: bytes, found: Verification, *, is_wanted: bool) -> bool:
    path = layout.link_path(digest)
    with open_staging(layout) as staging:
        os.rename(path, staging / "old")
        if is_wanted:
            try:
                linked_tree(layout, digest)
            except BaseException as error:
                # Some of it is better than nothing: what starts from it may never read what is damaged.
                with contextlib.suppress(OSError):  # the new one is there, and the interrupt came after that
                    os.rename(staging / "old", path)
                if not isinstance(error, StoreError):
                    raise
                found.bad_links[digest] += f"; it cannot be made anew: {error.brief}"
                return False
    what = "made anew" if is_wanted else "removed: it is made again on its next use"
    found.repaired.append(f"linked tree {digest.hex()}: {what}")
    return True


def stored_inodes(layout: Layout) -> dict[int, bytes]:
    """Return the digest of the content of each inode in the store."""
    return {
        entry.inode(): bytes.fromhex(name.partition(".")[0])
        for folder in (layout.objects, layout.variants)
        for name, entry in addressed(folder)
    }


def _is_other(layout: Layout, digest: bytes, inodes: dict[int, bytes]) -> bool:
    """Tell whether a linked checkout surely is not its tree; one that cannot be read may be."""
    try:
        return find_difference(layout, digest, inodes) is not None
    except (OSError, StoreError):
        return False


def _is_wrong(path: Path, digest: bytes) -> bool:
    """Tell whether a file can be read and has other content than the digest says."""
    try:
        with path.open("rb") as file:
            return native.hash_file(file.fileno())[0] != digest
    except OSError:
        return False


def _read(stream: BinaryIO, size: int) -> bytes:
    """Return the next bytes of a candidate, none if it cannot be read: then it is not the content."""
    try:
        return stream.read(size)
    except (OSError, StoreError):
        return b""
