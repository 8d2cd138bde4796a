"""The store's facet for bundles."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from volt_cas.errors import explained
from volt_cas.layout import Layout
from volt_cas.refs import Refs
from volt_core.contracts import (
    SILENT,
    BundleBase,
    BundleManifest,
    BundleRead,
    Bundles,
    BundleWritten,
    Compression,
    Entry,
    Progress,
    Ref,
)
from volt_core.contracts.bundle import accept_any
from volt_core.errors import InvalidName, RefNotFound
from volt_core.names import USE_PREFIX, shown


class BundlesOfCas(Bundles):
    """A part of :class:`~volt_cas.store.CasStore`, which sets the attributes."""

    path: Path
    _layout: Layout
    _refs: Refs

    def write_bundle(
        self,
        stream: BinaryIO,
        refs: Sequence[str],
        *,
        bases: Sequence[BundleBase | BundleManifest] = (),
        compression: Compression = Compression.NONE,
        progress: Progress = SILENT,
    ) -> BundleWritten:
        from volt_cas.bundle.write import Base, write_bundle

        # What the operating system refuses may be the stream's as well as the store's: it stays what it is.
        with self._looking():
            found = [self._ref(name) for name in sorted(set(refs))]
            base = Base()
            for one in bases:
                base.add(self._layout, one)
            return write_bundle(self._layout, stream, found, base, compression, progress)

    def read_bundle(
        self,
        stream: BinaryIO,
        *,
        accept: Callable[[Ref], None] = accept_any,
        progress: Progress = SILENT,
    ) -> BundleRead:
        from volt_cas.bundle.importing import BundleImport
        from volt_cas.writer import open_writer

        bundle = BundleImport(self._layout, stream, progress)
        for ref in bundle.manifest.refs:
            self._refs.check(ref.name)
            accept(ref)
        bundle.check_bases()
        with explained("Cannot import the bundle", self.path):
            self._layout.prepare()
            with self._layout.shared(), open_writer(self._layout) as writer:
                bundle.check_bases()  # once more, now that gc is kept away
                result = bundle.stage(writer)
                writer.publish()
                moved = tuple(self._move(bundle.manifest.refs))
        return msgspec.structs.replace(result, moved=moved)

    def inspect_bundle(self, stream: BinaryIO) -> BundleManifest:
        from volt_cas.bundle.read import BundleReader

        return BundleReader(stream).manifest

    def verify_bundle(self, stream: BinaryIO, *, progress: Progress = SILENT) -> BundleRead:
        from volt_cas.bundle.importing import BundleImport

        with self._looking():
            return BundleImport(self._layout, stream, progress).check()

    def bundle_entries(self, stream: BinaryIO) -> Iterator[tuple[Ref, Iterator[Entry]]]:
        from volt_cas.bundle.importing import BundleImport

        with self._looking():
            yield from BundleImport(self._layout, stream, SILENT).entries()

    def _ref(self, name: str) -> Ref:
        if name.startswith(USE_PREFIX):
            raise InvalidName(
                f"Ref {shown(name)} is in the place of what workloads use", hint="Name the image, or a ref of your own."
            )
        ref = self._refs.find(name)
        if ref is None:
            raise RefNotFound(f"The store has no ref {shown(name)}", hint="'volt cas status' lists the refs.")
        return ref

    def _move(self, refs: Sequence[Ref]) -> Iterator[Ref]:
        """Set the refs; yield the former values of those that were elsewhere."""
        for ref in refs:
            before = self._refs.find_sound(ref.name)
            self._refs.set(ref)
            if before is not None and before.digest != ref.digest:
                yield before

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """Keep gc away, if there is a store; nothing is written."""
        with contextlib.ExitStack() as stack:
            if self._layout.exists():
                stack.enter_context(self._layout.shared())
            yield
