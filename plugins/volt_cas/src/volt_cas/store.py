"""The store as the rest of Volt sees it.

What only some commands need is imported when it is called: a container starts with refs and a linked tree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from volt_cas.bundle.store import BundlesOfCas
from volt_cas.errors import explained
from volt_cas.layout import Layout, digest_bytes, digest_text
from volt_cas.objects import read_tree
from volt_cas.refs import Refs
from volt_core.contracts import (
    SILENT,
    Change,
    CheckoutMode,
    CheckoutResult,
    ContentSource,
    Entry,
    GcReport,
    MtimePolicy,
    Progress,
    PutResult,
    Ref,
    RefChange,
    Space,
    Store,
    Usage,
    VerifyReport,
    is_watched,
)
from volt_core.errors import ObjectMissing
from volt_core.names import check_ref

if TYPE_CHECKING:
    from volt_cas.writer import Writer


class CasStore(BundlesOfCas, Store):
    """Stellarium, the content-addressed store in a directory."""

    NAME = "cas"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._layout = Layout(path)
        self._refs = Refs(self._layout)

    def put_directory(
        self,
        source: Path,
        *,
        ref: Ref | None = None,
        exclude: Sequence[str] = (),
        one_file_system: bool = False,
        mtime: MtimePolicy = MtimePolicy.KEEP,
        adopt: bool = False,
        rehash: bool = False,
        progress: Progress = SILENT,
    ) -> PutResult:
        from volt_cas.scan import new_scan
        from volt_cas.source import bytes_below
        from volt_cas.statcache import StatCache

        total = bytes_below(source, one_file_system=one_file_system) if is_watched(progress) and not exclude else None
        progress.begin(f"Reading {source}", total)
        with self._writing(ref, f"Cannot put '{source}'") as writer:
            cache = StatCache(self._layout, source, rehash=rehash)
            scan = new_scan(self._layout, writer, cache, exclude=exclude, mtime=mtime, adopt=adopt, progress=progress)
            digest = scan.run(source, one_file_system=one_file_system)
            self._commit(writer, digest, ref)
        return PutResult(
            digest=digest_text(digest),
            files=scan.files,
            bytes=scan.bytes,
            new_objects=writer.new_objects,
            new_bytes=writer.new_bytes,
            notes=scan.notes.texts(),
        )

    def put_tar(
        self,
        stream: BinaryIO,
        *,
        ref: Ref | None = None,
        mtime: MtimePolicy = MtimePolicy.KEEP,
        progress: Progress = SILENT,
    ) -> PutResult:
        from volt_cas.tar_in import TarImport

        progress.begin("Reading the archive")
        with self._writing(ref, "Cannot put the archive") as writer:
            archive = TarImport(writer, mtime=mtime, progress=progress)
            digest = archive.run(stream)
            self._commit(writer, digest, ref)
        return PutResult(
            digest=digest_text(digest),
            files=archive.files,
            bytes=archive.bytes,
            new_objects=writer.new_objects,
            new_bytes=writer.new_bytes,
            notes=archive.notes(),
        )

    def export_tar(self, digest: str, stream: BinaryIO, *, progress: Progress = SILENT) -> None:
        from volt_cas.tar_out import export_tar

        with self._reading(digest) as top:
            export_tar(self._layout, top, stream, progress)

    def checkout(
        self,
        digest: str,
        destination: Path,
        *,
        mode: CheckoutMode = CheckoutMode.AUTO,
        progress: Progress = SILENT,
    ) -> CheckoutResult:
        from volt_cas.checkout import check_out

        with self._reading(digest) as top:
            if mode is CheckoutMode.LINK:
                with explained("Cannot link to the store", self.path):
                    self._layout.prepare()
            return check_out(self._layout, top, destination, mode=mode, progress=progress)

    def linked_tree(self, digest: str) -> Path:
        from volt_cas.links import linked_tree

        with self._reading(digest) as top, explained("Cannot make the linked tree", self.path):
            return linked_tree(self._layout, top)

    def entries(self, digest: str, path: bytes = b"", *, recursive: bool = True) -> Iterator[Entry]:
        from volt_cas.browse import list_entries

        with explained(f"Cannot list {digest}", self.path):
            yield from list_entries(self._layout, digest_bytes(digest), path, recursive=recursive)

    def read_file(self, digest: str, path: bytes) -> bytes:
        from volt_cas.browse import read_file

        with explained(f"Cannot read from {digest}", self.path):
            return read_file(self._layout, digest_bytes(digest), path)

    def open_file(self, digest: str, path: bytes) -> BinaryIO:
        from volt_cas.browse import open_file

        with explained(f"Cannot read from {digest}", self.path):
            return open_file(self._layout, digest_bytes(digest), path)

    def diff(self, before: str, after: str) -> Iterator[Change]:
        from volt_cas.compare import diff

        with explained(f"Cannot compare {before} with {after}", self.path):
            yield from diff(self._layout, digest_bytes(before), digest_bytes(after))

    def set_ref(self, ref: Ref) -> None:
        check_ref(ref.name)
        with self._reading(ref.digest), explained(f"Cannot set ref '{ref.name}'", self.path):
            self._layout.prepare()
            self._refs.set(ref)

    def find_ref(self, name: str) -> Ref | None:
        with explained(f"Cannot read ref '{name}'", self.path):
            return self._refs.find(name)

    def refs(self, prefix: str = "") -> Iterator[Ref]:
        with explained("Cannot list the refs", self.path):
            yield from self._refs.list(prefix)

    def delete_ref(self, name: str) -> None:
        with explained(f"Cannot delete ref '{name}'", self.path):
            if self._layout.exists():
                self._layout.prepare()
            self._refs.delete(name)

    def ref_log(self, name: str) -> Sequence[RefChange]:
        with explained(f"Cannot read ref '{name}'", self.path):
            return self._refs.log(name)

    def verify(
        self, *, repair: bool = False, sources: Sequence[ContentSource] = (), progress: Progress = SILENT
    ) -> VerifyReport:
        from volt_cas.verify import verify

        if not self._layout.exists():
            return VerifyReport(objects=0, bytes=0, trees=0)
        with explained("Cannot verify the store", self.path):
            if repair:
                self._layout.prepare()
            return verify(self._layout, self._refs, progress, repair=repair, sources=sources)

    def gc(self, *, dry_run: bool = False, grace: float = 3600.0, keep_last: int = 0) -> GcReport:
        from volt_cas.gc import collect

        if not self._layout.exists():
            return GcReport(dry_run=dry_run, objects=0, trees=0, variants=0, bytes=0)
        with explained("Cannot collect garbage", self.path):
            if not dry_run:
                self._layout.prepare()
            return collect(self._layout, self._refs, dry_run=dry_run, grace=grace, keep_last=keep_last)

    def usage(self) -> Usage:
        from volt_cas.usage import usage

        with contextlib.ExitStack() as stack:
            stack.enter_context(explained("Cannot count what the store holds", self.path))
            if self._layout.exists():
                stack.enter_context(self._layout.shared())
            return usage(self._layout, self._refs)

    def space(self) -> Space:
        from volt_cas.space import space

        with contextlib.ExitStack() as stack:
            stack.enter_context(explained("Cannot measure the store", self.path))
            if self._layout.exists():
                stack.enter_context(self._layout.shared())
            return space(self._layout, self._refs)

    @contextlib.contextmanager
    def _writing(self, ref: Ref | None, act: str) -> Iterator[Writer]:
        """Give a writer while gc is kept away; the store is made if there is none."""
        from volt_cas.writer import open_writer

        if ref is not None:
            check_ref(ref.name)
        with explained(act, self.path):
            self._layout.prepare()
            with self._layout.shared(), open_writer(self._layout) as writer:
                yield writer

    def _commit(self, writer: Writer, digest: bytes, ref: Ref | None) -> None:
        writer.publish()
        if ref is not None:
            self._refs.set(msgspec.structs.replace(ref, digest=digest_text(digest)))

    @contextlib.contextmanager
    def _reading(self, digest: str) -> Iterator[bytes]:
        """Give the digest of a tree that is there, while gc is kept away."""
        top = digest_bytes(digest)
        with contextlib.ExitStack() as stack:
            with explained(f"Cannot read {digest}", self.path):
                if not self._layout.exists():
                    raise ObjectMissing(f"There is no store at '{self.path}'", hint="Put a tree first.")
                stack.enter_context(self._layout.shared())
                read_tree(self._layout, top)
            yield top
