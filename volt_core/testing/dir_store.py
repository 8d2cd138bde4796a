"""A store in directories: whole copies of trees, nothing shared. The contract with nothing clever in it.

``trees/DIGEST/listing`` has the entries of a tree and ``trees/DIGEST/copy`` the tree itself, which is the linked tree
as well; ``refs.json`` has the refs with their logs. One lock is held for every change.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from volt_core import fs
from volt_core.contracts import (
    SILENT,
    CheckoutMode,
    CheckoutResult,
    ContentSource,
    Entry,
    EntryType,
    GcReport,
    MtimePolicy,
    Progress,
    PutResult,
    Ref,
    RefChange,
    Space,
    Usage,
    VerifyReport,
)
from volt_core.errors import ObjectMissing
from volt_core.names import DIGEST_PREFIX, check_digest, check_ref, shown
from volt_core.testing import memory_tar, memory_tree
from volt_core.testing.dir_refs import RefsFile
from volt_core.testing.whole_store import WholeStore, empty_directory, find_copy
from volt_core.testing.whole_trees import (
    Objects,
    check_mode,
    contents_of,
    decode_tree,
    digest_of,
    encode_tree,
    former,
    prepare,
    put_result,
    shares,
)


class DirStore(WholeStore):
    """See the module."""

    NAME = "dir"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._refs = RefsFile(path / "refs.json")

    def export_tar(self, digest: str, stream: BinaryIO, *, progress: Progress = SILENT) -> None:
        entries = self._tree(digest)
        memory_tar.write(stream, entries, self._contents(digest, entries).__getitem__)

    def checkout(
        self,
        digest: str,
        destination: Path,
        *,
        mode: CheckoutMode = CheckoutMode.AUTO,
        progress: Progress = SILENT,
    ) -> CheckoutResult:
        check_mode(mode)
        entries = self._tree(digest)
        contents = self._contents(digest, entries)
        with empty_directory(destination):
            return memory_tree.write(entries, os.fsencode(destination), contents.__getitem__, progress)

    def linked_tree(self, digest: str) -> Path:
        self._tree(digest)
        return self._folder(digest) / "copy"

    def read_file(self, digest: str, path: bytes) -> bytes:
        with self.open_file(digest, path) as stream:
            return stream.read()

    def open_file(self, digest: str, path: bytes) -> BinaryIO:
        entry = self._file(digest, path)
        try:
            return open(self._place(digest, entry), "rb")
        except FileNotFoundError as error:
            raise ObjectMissing(f"The store has no object {entry.digest}") from error

    def set_ref(self, ref: Ref) -> None:
        check_ref(ref.name)
        self._tree(ref.digest)
        with self._locked():
            self._refs.set(ref)

    def find_ref(self, name: str) -> Ref | None:
        return self._refs.find(name)

    def refs(self, prefix: str = "") -> Iterator[Ref]:
        return self._refs.list(prefix)

    def delete_ref(self, name: str) -> None:
        with self._locked():
            self._refs.delete(name)

    def ref_log(self, name: str) -> Sequence[RefChange]:
        return self._refs.log(name)

    def verify(
        self, *, repair: bool = False, sources: Sequence[ContentSource] = (), progress: Progress = SILENT
    ) -> VerifyReport:
        if not self.path.exists():
            return VerifyReport(objects=0, bytes=0, trees=0)
        with self._locked():
            repaired = self._repair(sources) if repair else ()
            trees = {digest: self._tree(digest) for digest in self._trees()}
            sizes = {digest: size for entries in trees.values() for digest, size in contents_of(entries).items()}
            damaged = []
            for tree, entries in trees.items():
                users = [ref.name for ref in self.refs() if ref.digest == tree]
                for bad in sorted(self._bad(tree, entries)):
                    damaged.append(f"{bad} is damaged or missing in {tree}; used by {', '.join(users) or 'no ref'}")
                if digest_of(encode_tree(entries)) != tree:
                    damaged.append(f"the listing of {tree} is damaged; used by {', '.join(users) or 'no ref'}")
            return VerifyReport(
                objects=len(sizes),
                bytes=sum(sizes.values()),
                trees=len(trees),
                damaged=tuple(damaged),
                repaired=tuple(repaired),
            )

    def gc(self, *, dry_run: bool = False, grace: float = 3600.0, keep_last: int = 0) -> GcReport:
        if not self.path.exists():
            return GcReport(dry_run=dry_run, objects=0, trees=0, variants=0, bytes=0)
        with self._locked():
            kept = {ref.digest for ref in self.refs()}
            kept |= {old for ref in self.refs() for old in former(self.ref_log(ref.name), ref.digest, keep_last)}
            limit = time.time() - grace
            idle = [digest for digest in self._trees() if digest not in kept]
            doomed = [digest for digest in idle if (self._folder(digest) / "listing").stat().st_mtime < limit]
            staying = set(self._trees()) - set(doomed)
            still_needed = {content for digest in staying for content in contents_of(self._tree(digest))}
            sizes = {
                content: size
                for digest in doomed
                for content, size in contents_of(self._tree(digest)).items()
                if content not in still_needed
            }
            for digest in () if dry_run else doomed:
                fs.remove_tree(self._folder(digest))
            return GcReport(
                dry_run=dry_run,
                objects=len(sizes),
                trees=len(doomed),
                variants=0,
                bytes=sum(sizes.values()),
                kept_young=len(idle) - len(doomed),
                removed=(*doomed, *sizes),
            )

    def usage(self) -> Usage:
        trees = {digest: self._tree(digest) for digest in self._trees()}
        sizes = {digest: size for entries in trees.values() for digest, size in contents_of(entries).items()}
        refs = list(self.refs())
        return Usage(
            objects=len(sizes),
            object_bytes=sum(sizes.values()),
            variants=0,
            variant_bytes=0,
            trees=len(trees),
            tree_bytes=sum((self._folder(digest) / "listing").stat().st_size for digest in trees),
            refs=len(refs),
            referenced_bytes=sum(entry.size for ref in refs for entry in trees[ref.digest]),
            links=len(trees),
            free_bytes=self.space().free_bytes,
        )

    def space(self) -> Space:
        path = next(path for path in (self.path, *self.path.parents) if path.exists())
        info = os.statvfs(path)
        blocks = {
            (found.st_dev, found.st_ino): found.st_blocks
            for folder, _, names in os.walk(self.path)
            for found in (os.lstat(os.path.join(folder, name)) for name in (".", *names))
        }
        return Space(
            free_bytes=info.f_bavail * info.f_frsize,
            total_bytes=info.f_blocks * info.f_frsize,
            allocated_bytes=sum(blocks.values()) * 512,
            refs=shares(self.refs(), self._tree),
        )

    def places(self, digest: str) -> list[Path]:
        """Return all files that have a content, for tests that damage it."""
        return [
            self._place(tree, entry)
            for tree in self._trees()
            for entry in self._tree(tree)
            if entry.type is EntryType.FILE and entry.digest == digest
        ]

    def _put(
        self,
        found: Iterable[tuple[Entry, bytes]],
        ref: Ref | None,
        mtime: MtimePolicy,
        progress: Progress,
        notes: Sequence[str],
    ) -> PutResult:
        if ref is not None:
            check_ref(ref.name)
        entries, objects = prepare(found, mtime, progress)
        digest = digest_of(encode_tree(entries))
        with self._locked():
            known = {content for tree in self._trees() for content in contents_of(self._tree(tree))}
            new = {content: data for content, data in objects.items() if content not in known}
            if digest not in self._trees() or self._bad(digest, entries):
                self._keep(digest, entries, objects)
            os.utime(self._folder(digest) / "listing")
            if ref is not None:
                self._refs.set(msgspec.structs.replace(ref, digest=digest))
        return put_result(digest, entries, new, notes)

    def _keep(self, digest: str, entries: Sequence[Entry], objects: Objects) -> None:
        """Make the copy of a tree, or make it anew; what `objects` lacks is left out."""
        trees = self.path / "trees"
        trees.mkdir(exist_ok=True)
        fresh, old = (trees / f".{uuid.uuid4().hex}" for _ in range(2))
        (fresh / "copy").mkdir(parents=True)
        there = [entry for entry in entries if entry.type is not EntryType.FILE or entry.digest in objects]
        memory_tree.write(there, os.fsencode(fresh / "copy"), objects.__getitem__, SILENT)
        (fresh / "listing").write_bytes(encode_tree(entries))
        with contextlib.suppress(FileNotFoundError):
            self._folder(digest).rename(old)
        fresh.rename(self._folder(digest))
        fs.remove_tree(old)

    def _repair(self, sources: Sequence[ContentSource]) -> list[str]:
        """Make copies with damage anew, from other copies and from `sources`, without what nobody has."""
        bad = {digest: self._bad(digest, self._tree(digest)) for digest in self._trees()}
        sound: Objects = {}
        for tree, lost in bad.items():
            entries = self._tree(tree)
            sound |= {
                entry.digest: self._place(tree, entry).read_bytes()
                for entry in entries
                if entry.type is EntryType.FILE and entry.digest not in lost
            }
        repaired = []
        sizes = {content: size for lost in bad.values() for content, size in lost.items()}
        for content, size in sizes.items():
            if content in sound:
                repaired.append(f"{content}: replaced by another copy")
                continue
            if found := find_copy(sources, content, size):
                sound[content], name = found
                repaired.append(f"{content}: replaced by a copy from {name}")
        for tree in (tree for tree, lost in bad.items() if lost):
            self._keep(tree, self._tree(tree), sound)
        return repaired

    def _bad(self, digest: str, entries: Iterable[Entry]) -> dict[str, int]:
        """Return the contents that a copy does not have as they should be, with their sizes."""
        bad = {}
        for entry in entries:
            if entry.type is EntryType.FILE:
                try:
                    data = self._place(digest, entry).read_bytes()
                except FileNotFoundError:
                    data = b"lost"
                if digest_of(data) != entry.digest:
                    bad[entry.digest] = entry.size
        return bad

    def _contents(self, digest: str, entries: Iterable[Entry]) -> Objects:
        try:
            return {
                entry.digest: self._place(digest, entry).read_bytes()
                for entry in entries
                if entry.type is EntryType.FILE
            }
        except FileNotFoundError as error:
            raise ObjectMissing(f"The store has no longer all of tree {shown(digest)}") from error

    def _tree(self, digest: str) -> Sequence[Entry]:
        try:
            return decode_tree((self._folder(check_digest(digest)) / "listing").read_bytes())
        except FileNotFoundError as error:
            raise ObjectMissing(f"The store has no tree {shown(digest)}") from error

    def _trees(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [DIGEST_PREFIX + name for name in sorted(os.listdir(self.path / "trees")) if name[0] != "."]
        return []

    def _folder(self, digest: str) -> Path:
        return self.path / "trees" / digest.removeprefix(DIGEST_PREFIX)

    def _place(self, digest: str, entry: Entry) -> Path:
        return self._folder(digest) / "copy" / os.fsdecode(entry.path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with fs.lock(self.path / "lock", what="the store"):
            yield
