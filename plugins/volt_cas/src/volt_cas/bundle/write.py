"""Writing a bundle: find what belongs into it, say so, then write it member by member, never going back.

A header says how large its member is, and what its CRC is. So contents up to 1 MiB are written from memory, and
larger ones are read twice, which costs less than to remember or to patch: the second time from the page cache.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import msgspec

from volt_cas.bundle import format as form
from volt_cas.bundle.contents import find_contents, find_stored, loader
from volt_cas.bundle.pack import Packer, Piece
from volt_cas.bundle.work import ahead, open_workers
from volt_cas.layout import Layout, digest_bytes, digest_text, fan_out
from volt_cas.objects import open_object
from volt_cas.sparse import PIECE
from volt_core import native
from volt_core.contracts import (
    BundleBase,
    BundleItem,
    BundleManifest,
    BundleWritten,
    Compression,
    Progress,
    Ref,
)
from volt_core.errors import ObjectCorrupt, ObjectMissing, StoreError

_BATCH_FILES = 256
_BATCH_BYTES = 8 * PIECE
_GATHERED = 256 * 1024  # bytes that are put together before they are written


class Base:
    """What the reader of a bundle will have."""

    def __init__(self) -> None:
        self.bases: dict[str, str] = {}
        self.records: set[bytes] = set()
        self.objects: set[bytes] = set()

    def add(self, layout: Layout, base: BundleBase | BundleManifest) -> None:
        """Add a tree of the store, or what another bundle held. Raises :class:`ObjectMissing`."""
        if isinstance(base, BundleBase):
            self._add_tree(layout, base)
            return
        for ref in base.refs:
            self.bases.setdefault(ref.digest, ref.name)
        self.records |= {digest_bytes(item.digest) for item in base.records}
        self.objects |= {digest_bytes(item.digest) for item in base.objects}
        # Its own bases count where their trees are here to look at.
        for own in base.bases:
            if layout.has_tree(digest_bytes(own.digest)):
                self._add_contents(layout, own.digest)

    def _add_tree(self, layout: Layout, base: BundleBase) -> None:
        digest = digest_bytes(base.digest)
        if not layout.has_tree(digest):
            raise ObjectMissing(
                f"The store has no tree {base.digest} to take as a base", hint="'volt cas status' lists the refs."
            )
        self.bases.setdefault(base.digest, base.name)
        self._add_contents(layout, base.digest)

    def _add_contents(self, layout: Layout, digest: str) -> None:
        found = find_stored(layout, [digest_bytes(digest)])
        self.records |= found.records.keys()
        self.objects |= found.objects.keys()


def write_bundle(
    layout: Layout,
    stream: BinaryIO,
    refs: Sequence[Ref],
    base: Base,
    compression: Compression,
    progress: Progress,
) -> BundleWritten:
    """See :meth:`volt_core.contracts.Bundles.write_bundle`. The caller keeps gc away."""
    refs = [msgspec.structs.replace(ref, updated=0) for ref in sorted(refs, key=lambda ref: ref.name)]
    contents = find_contents(
        (digest_bytes(ref.digest) for ref in refs),
        loader(layout),
        is_outer_record=base.records.__contains__,
        is_outer_object=base.objects.__contains__,
    )
    manifest = BundleManifest(
        format=form.FORMAT,
        bases=tuple(BundleBase(digest, name) for digest, name in sorted(base.bases.items())),
        refs=tuple(refs),
        records=tuple(contents.record_items()),
        objects=tuple(contents.object_items()),
    )
    del contents  # with the metadata of each file, more than all that follows needs
    data = form.encode_manifest(manifest)
    if len(data) > form.MAX_MANIFEST or sum(item.size for item in manifest.records) > form.MAX_RECORDS:
        raise StoreError(
            f"Cannot write the bundle: {len(manifest.records)} records and {len(manifest.objects)} contents are too "
            "many for one",
            hint="Write a bundle for some of the refs, then one with --base for the others.",
        )
    form.decode_manifest(data)  # nobody should get what nobody could read
    progress.begin("Writing the bundle", manifest.bytes)
    run = _Run(layout, stream, compression, progress)
    run.manifest(data)
    run.records(manifest.records)
    run.objects(manifest.objects)
    return BundleWritten(manifest=manifest, bytes=run.end(manifest, len(data)))


class _Run:
    def __init__(self, layout: Layout, stream: BinaryIO, compression: Compression, progress: Progress) -> None:
        self._layout = layout
        self._stream = stream
        self._packer = Packer(compression)
        self._progress = progress
        self._directory = form.Directory()
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self._written = 0

    def manifest(self, data: bytes) -> None:
        """Write the list of contents, which is never compressed: whoever reads it must trust its size."""
        self._member(form.MANIFEST, Piece(form.STORED, zlib.crc32(data), data), len(data))

    def records(self, items: Sequence[BundleItem]) -> None:
        """Write the records."""
        load = loader(self._layout)
        for item in items:
            data = load(digest_bytes(item.digest))
            self._member(form.record_name(item.digest), self._packer.pack(data), item.size)
            self._progress.advance(item.size)

    def objects(self, items: Sequence[BundleItem]) -> None:
        """Write the contents of files."""
        if not items:
            return
        folder = os.open(self._layout.objects, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open_workers() as workers:
                batches = _batches(items)
                if self._packer.compresses:
                    pieces = ahead(workers, lambda batch: self._pack(folder, batch), batches)
                    for batch, packed in pieces:
                        self._write(batch, packed)
                else:
                    checks = ahead(workers, lambda batch: _check_hashes(folder, batch), batches)
                    # Reading is quick beside hashing and runs on this thread; both overlap.
                    for batch, _ in checks:
                        self._write(batch, None)
        finally:
            os.close(folder)

    def end(self, manifest: BundleManifest, manifest_size: int) -> int:
        """Write the central directory; return the size of the file."""
        for piece in self._directory.render(manifest, manifest_size):
            self._put(piece)
        self._flush()
        self._stream.flush()
        return self._written

    def _pack(self, folder: int, batch: list[tuple[bytes, int]]) -> list[Piece | None]:
        """Compress the small ones of a batch; for a worker."""
        packed: list[Piece | None] = []
        for digest, size in batch:
            if size > PIECE:
                packed.append(None)
                continue
            data = _read(self._layout, digest, size)
            packed.append(self._packer.pack(data))
        _check_hashes(folder, batch)
        return packed

    def _write(self, batch: list[tuple[bytes, int]], packed: list[Piece | None] | None) -> None:
        for position, (digest, size) in enumerate(batch):
            name = form.object_name(digest.hex())
            piece = packed[position] if packed else None
            if size > PIECE:
                self._large(name, digest, size)
            else:
                if piece is None:
                    data = _read(self._layout, digest, size)
                    piece = Piece(form.STORED, zlib.crc32(data), data)
                self._member(name, piece, size)
            self._progress.advance(size, 1)

    def _large(self, name: bytes, digest: bytes, size: int) -> None:
        """Write content that is read twice: to know what its header says, and to write it."""
        with open(open_object(self._layout, digest, size), "rb", buffering=0) as file:
            stored, make = self._packer.measure(file, size)
            self._directory.add(stored)
            self._put(form.local_header(name, stored, size))
            file.seek(0)
            left, crc = stored.size, 0
            for data, raw in make(file):
                crc = zlib.crc32(raw, crc)
                left -= len(data)
                self._put(data)
        if left or crc != stored.crc:
            raise _damaged(digest, "it changed while it was read")

    def _member(self, name: bytes, piece: Piece, size: int) -> None:
        stored = form.Stored(piece.method, piece.crc, len(piece.data))
        self._directory.add(stored)
        self._put(form.local_header(name, stored, size))
        self._put(piece.data)

    def _put(self, data: bytes) -> None:
        self._written += len(data)
        self._gathered.append(data)
        self._gathered_size += len(data)
        if self._gathered_size >= _GATHERED:
            self._flush()

    def _flush(self) -> None:
        self._stream.write(b"".join(self._gathered))
        self._gathered.clear()
        self._gathered_size = 0


def _batches(items: Sequence[BundleItem]) -> Iterator[list[tuple[bytes, int]]]:
    batch: list[tuple[bytes, int]] = []
    total = 0
    for item in items:
        batch.append((digest_bytes(item.digest), item.size))
        total += item.size
        if len(batch) >= _BATCH_FILES or total >= _BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _read(layout: Layout, digest: bytes, size: int) -> bytes:
    descriptor = open_object(layout, digest, size)
    try:
        data = os.read(descriptor, size)
    finally:
        os.close(descriptor)
    if len(data) != size:
        raise _damaged(digest, f"it ends after {len(data)} of {size} bytes")
    return data


def _check_hashes(folder: int, batch: list[tuple[bytes, int]]) -> None:
    """Raise for content that is not what its name says; for a worker: the C extension needs no interpreter lock."""
    paths = [fan_out(digest).encode() for digest, _ in batch]
    for (digest, _), found in zip(batch, native.hash_files(folder, paths, threads=1), strict=True):
        if isinstance(found, FileNotFoundError):
            raise ObjectMissing(
                f"The store has no object {digest_text(digest)}",
                hint="Run 'volt cas verify' to see what is affected, then put the tree again.",
            )
        if isinstance(found, OSError):
            raise StoreError(f"Cannot read object {digest_text(digest)}: {found.strerror}")
        if found != digest:
            raise _damaged(digest, "its content does not match its digest")


def _damaged(digest: bytes, why: str) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"Object {digest_text(digest)} is damaged: {why}",
        hint="Run 'volt cas verify' to see what is affected, then put the tree again.",
    )
