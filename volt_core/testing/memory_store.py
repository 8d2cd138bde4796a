"""A store in memory: the contract without a format, for tests of whatever uses a store.

What was put at one path is seen by every :class:`MemoryStore` of this process that is opened at that path.
On disk are only the linked trees, as copies: nothing else can be shared with a process that runs.
"""

from __future__ import annotations

import io
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

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
from volt_core.errors import ObjectMissing, RefNotFound
from volt_core.names import DIGEST_PREFIX, check_ref, shown
from volt_core.testing import memory_tar, memory_tree
from volt_core.testing.memory_bundle import MemoryBundles
from volt_core.testing.whole_store import WholeStore, empty_directory, find_copy
from volt_core.testing.whole_trees import (
    check_mode,
    decode_tree,
    digest_of,
    encode_tree,
    former,
    is_changed,
    prepare,
    put_result,
    shares,
)


class _Content:
    """What the stores at one path hold together."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[str, bytes] = {}
        self.trees: dict[str, bytes] = {}
        self.born: dict[str, float] = {}
        self.refs: dict[str, Ref] = {}
        self.logs: dict[str, list[RefChange]] = {}


class MemoryStore(MemoryBundles, WholeStore):
    """See the module."""

    NAME = "memory"
    _contents: ClassVar[dict[Path, _Content]] = {}

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = self._contents.setdefault(path, _Content())

    def export_tar(self, digest: str, stream: BinaryIO, *, progress: Progress = SILENT) -> None:
        memory_tar.write(stream, self._tree(digest), self._object)

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
        with empty_directory(destination):
            return memory_tree.write(entries, os.fsencode(destination), self._object, progress)

    def linked_tree(self, digest: str) -> Path:
        path = self.path / "links" / digest.removeprefix(DIGEST_PREFIX)
        with self._content.lock:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
                self.checkout(digest, fresh, mode=CheckoutMode.LINK)
                fresh.rename(path)
        return path

    def read_file(self, digest: str, path: bytes) -> bytes:
        return self._object(self._file(digest, path).digest)

    def open_file(self, digest: str, path: bytes) -> BinaryIO:
        return io.BytesIO(self.read_file(digest, path))

    def set_ref(self, ref: Ref) -> None:
        check_ref(ref.name)
        with self._content.lock:
            if ref.digest not in self._content.trees:
                raise ObjectMissing(f"Cannot set ref '{ref.name}': the store has no tree {shown(ref.digest)}")
            old = self._content.refs.get(ref.name)
            now = time.time_ns()
            self._content.refs[ref.name] = msgspec.structs.replace(ref, updated=now)
            if is_changed(old, ref):
                previous = old.digest if old else None
                change = RefChange(time=now, digest=ref.digest, previous=previous, kind=ref.kind, meta=ref.meta)
                self._log(ref.name, change)

    def find_ref(self, name: str) -> Ref | None:
        return self._content.refs.get(name)

    def refs(self, prefix: str = "") -> Iterator[Ref]:
        for name in sorted(self._content.refs):
            if name.startswith(prefix):
                yield self._content.refs[name]

    def delete_ref(self, name: str) -> None:
        with self._content.lock:
            old = self._content.refs.pop(name, None)
            if old is None:
                raise RefNotFound(f"The store has no ref {shown(name)}")
            self._log(name, RefChange(time=time.time_ns(), digest=None, previous=old.digest))

    def ref_log(self, name: str) -> Sequence[RefChange]:
        return tuple(self._content.logs.get(name, ()))

    def verify(
        self, *, repair: bool = False, sources: Sequence[ContentSource] = (), progress: Progress = SILENT
    ) -> VerifyReport:
        with self._content.lock:
            repaired = self._repair(sources) if repair else ()
            objects, trees = dict(self._content.objects), dict(self._content.trees)
            bad = {digest for digest, data in (*objects.items(), *trees.items()) if digest_of(data) != digest}
            damaged = [f"{digest} does not match its content" for digest in sorted(bad)]
            for ref in self.refs():
                if ref.digest in bad or ref.digest not in trees:
                    damaged.append(f"ref '{ref.name}': its tree record is damaged or missing")
                    continue
                wanted = {entry.digest for entry in self._tree(ref.digest) if entry.type is EntryType.FILE}
                damaged += [
                    f"ref '{ref.name}': {digest} is damaged or missing"
                    for digest in sorted(wanted)
                    if digest in bad or digest not in objects
                ]
        total = sum(map(len, objects.values()))
        return VerifyReport(
            objects=len(objects), bytes=total, trees=len(trees), damaged=tuple(damaged), repaired=tuple(repaired)
        )

    def _repair(self, sources: Sequence[ContentSource]) -> list[str]:
        """Replace damaged and missing objects; what has no good copy is dropped, so that a put brings it again."""
        repaired = []
        objects = self._content.objects
        wanted = {
            entry.digest: entry.size
            for ref in self.refs()
            for entry in self._tree(ref.digest)
            if entry.type is EntryType.FILE and digest_of(objects.get(entry.digest, b"lost")) != entry.digest
        }
        for digest, size in wanted.items():
            objects.pop(digest, None)
            if found := find_copy(sources, digest, size):
                objects[digest], name = found
                repaired.append(f"{digest}: replaced by a copy from {name}")
        if repaired:
            fs.remove_tree(self.path / "links")
        return repaired

    def gc(self, *, dry_run: bool = False, grace: float = 3600.0, keep_last: int = 0) -> GcReport:
        with self._content.lock:
            content = self._content
            kept = {ref.digest for ref in content.refs.values()}
            for name, ref in content.refs.items():
                kept |= content.trees.keys() & former(content.logs[name], ref.digest, keep_last)
            kept |= {entry.digest for digest in tuple(kept) for entry in self._tree(digest) if entry.digest}
            idle = (content.objects.keys() | content.trees.keys()) - kept
            young = {digest for digest in idle if time.time() - content.born[digest] < grace}
            doomed = idle - young
            report = GcReport(
                dry_run=dry_run,
                objects=len(doomed & content.objects.keys()),
                trees=len(doomed & content.trees.keys()),
                variants=0,
                bytes=sum(len(content.objects.get(digest, b"")) for digest in doomed),
                kept_young=len(young),
                removed=tuple(sorted(doomed)),
            )
            if not dry_run:
                for digest in doomed:
                    content.objects.pop(digest, None)
                    if content.trees.pop(digest, None) is not None:
                        fs.remove_tree(self.path / "links" / digest.removeprefix(DIGEST_PREFIX))
        return report

    def usage(self) -> Usage:
        with self._content.lock:
            content = self._content
            return Usage(
                objects=len(content.objects),
                object_bytes=sum(map(len, content.objects.values())),
                variants=0,
                variant_bytes=0,
                trees=len(content.trees),
                tree_bytes=sum(map(len, content.trees.values())),
                refs=len(content.refs),
                referenced_bytes=sum(
                    entry.size for ref in content.refs.values() for entry in self._tree(ref.digest)
                ),
                links=len(list(self.path.glob("links/*"))),
                free_bytes=2**63 - 1,
            )  # fmt: skip

    def space(self) -> Space:
        with self._content.lock:
            kept = (*self._content.objects.values(), *self._content.trees.values())
            return Space(
                free_bytes=2**63 - 1,
                total_bytes=2**63 - 1,
                allocated_bytes=sum(map(len, kept)),
                refs=shares(self.refs(), self._tree),
            )

    def damage(self, digest: str) -> None:
        """Change one byte of an object, as a failing disk would."""
        data = self._content.objects[digest]
        self._content.objects[digest] = bytes([data[0] ^ 1]) + data[1:]

    def lose(self, digest: str) -> None:
        """Remove an object that is still needed."""
        del self._content.objects[digest]

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
        record = encode_tree(entries)
        digest = digest_of(record)
        with self._content.lock:
            new = {address: data for address, data in objects.items() if address not in self._content.objects}
            self._content.objects |= new
            self._content.trees[digest] = record
            self._content.born |= dict.fromkeys((digest, *objects), time.time())
            if ref is not None:
                self.set_ref(msgspec.structs.replace(ref, digest=digest))
        return put_result(digest, entries, new, notes)

    def _tree(self, digest: str) -> Sequence[Entry]:
        record = self._content.trees.get(digest)
        if record is None:
            raise ObjectMissing(f"The store has no tree {shown(digest)}")
        return decode_tree(record)

    def _object(self, digest: str) -> bytes:
        data = self._content.objects.get(digest)
        if data is None:
            raise ObjectMissing(f"The store has no object {shown(digest)}")
        return data

    def _log(self, name: str, change: RefChange) -> None:
        self._content.logs.setdefault(name, []).append(change)
