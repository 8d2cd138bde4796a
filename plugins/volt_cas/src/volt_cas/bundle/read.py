"""Reading a bundle, front to back and once: what must be there is made from the list of contents and compared.

So a member that is missing, repeated, extra, renamed, encrypted, overlapping or of another size is found at its header,
before its content is looked at; content is given out when CRC and digest are right. Nothing is believed that
stands behind it: at the end the central directory must be the one that follows from the members.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

from volt_cas.bundle import format as form
from volt_cas.bundle.header import check_header, invalid
from volt_cas.bundle.work import WORKERS, open_workers
from volt_cas.layout import digest_bytes
from volt_cas.sparse import PIECE
from volt_core.contracts import BundleItem, BundleManifest, Progress

_BATCH_FILES = 128
_BATCH_BYTES = 2 * PIECE


class Source:
    """The stream with a buffer, and how far it was read. It may be a pipe and give less than it is asked for."""

    def __init__(self, stream: BinaryIO, offset: int = 0) -> None:
        self._read = getattr(stream, "read1", stream.read)
        self._buffer = b""
        self._at = 0
        self.offset = offset

    def exactly(self, size: int) -> bytes:
        """Return the next `size` bytes. Raises :class:`BundleInvalid` at the end of the stream."""
        end = self._at + size
        if end <= len(self._buffer):
            data = self._buffer[self._at : end]
            self._at = end
            self.offset += size
            return data
        pieces = []
        left = size
        while left:
            piece = self.some(left)
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def some(self, most: int) -> bytes:
        """Return 1 to `most` of the next bytes. Raises :class:`BundleInvalid` at the end of the stream."""
        if self._at == len(self._buffer):
            self._fill()
        data = self._buffer[self._at : self._at + most]
        self._at += len(data)
        self.offset += len(data)
        return data

    def is_at_end(self) -> bool:
        """Tell whether there is nothing more."""
        if self._at < len(self._buffer):
            return False
        self._buffer, self._at = self._read(PIECE), 0
        return not self._buffer

    def _fill(self) -> None:
        if self.is_at_end():
            raise invalid(self.offset, "it ends too early")


class Small(NamedTuple):
    """A content that was checked."""

    item: BundleItem
    data: bytes


class Large:
    """A content that is too large for memory. It is right if :meth:`pieces` comes to its end."""

    def __init__(self, item: BundleItem, source: Source, stored: form.Stored, workers: ThreadPoolExecutor) -> None:
        self.item = item
        self._source = source
        self._stored = stored
        self._workers = workers
        self._offset = source.offset
        self._hash = hashlib.sha256()
        self._crc = 0
        self._pieces = self._checked()

    def pieces(self) -> Iterator[bytes]:
        """Yield the content, once.

        Raises :class:`BundleInvalid`, also when all of it was given out and it was wrong.
        """
        return self._pieces

    def drain(self) -> None:
        """Read and check what was not taken."""
        for _ in self._pieces:
            pass

    def _checked(self) -> Iterator[bytes]:
        size = 0
        hashed: Future[None] | None = None
        for data in self._inflated() if self._stored.method == form.DEFLATED else self._plain():
            size += len(data)
            if size > self.item.size:
                break
            if hashed is not None:
                hashed.result()
            # Whoever takes the piece writes it meanwhile.
            hashed = self._workers.submit(self._update, data)
            yield data
        if hashed is not None:
            hashed.result()
        _compare(self._offset, self.item, size, self._crc == self._stored.crc, self._hash.digest())

    def _plain(self) -> Iterator[bytes]:
        left = self._stored.size
        while left:
            data = self._source.some(min(left, PIECE))
            left -= len(data)
            yield data

    def _inflated(self) -> Iterator[bytes]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for packed in self._plain():
                while packed:
                    if data := inflater.decompress(packed, PIECE):
                        yield data
                    packed = inflater.unconsumed_tail
            while data := inflater.decompress(b"", PIECE):
                yield data
        except zlib.error as error:
            raise invalid(self._offset, f"{self.item.digest} cannot be decompressed: {error}") from error
        if not inflater.eof or inflater.unused_data:
            raise invalid(self._offset, f"{self.item.digest} does not end where its compressed bytes do")

    def _update(self, data: bytes) -> None:
        self._hash.update(data)
        self._crc = zlib.crc32(data, self._crc)


class Raw(NamedTuple):
    """A small member as it was read."""

    offset: int
    item: BundleItem
    stored: form.Stored
    data: bytes


class BundleReader:
    """One bundle. Its parts are to be read in the order of the methods, each to its end.

    Attributes:
        manifest: what it says that it holds.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._source = Source(stream)
        self._directory = form.Directory()
        stored = self._header(form.MANIFEST, None)
        data = self._source.exactly(stored.size)
        if zlib.crc32(data) != stored.crc:
            raise invalid(self._source.offset, "the list of contents before it does not match its CRC")
        self._manifest_size = len(data)
        self.manifest: BundleManifest = form.decode_manifest(data)

    def records(self, progress: Progress) -> dict[bytes, bytes]:
        """Return all records, by digest, in the order of the file."""
        found = {}
        for item in self.manifest.records:
            raw = self._small(form.record_name(item.digest), item)
            found[digest_bytes(item.digest)] = check_member(raw).data
            progress.advance(item.size)
        return found

    def objects(self) -> Iterator[Small | Large]:
        """Yield the contents in the order of the file. What is not taken of a large one is read all the same."""
        with open_workers() as workers:
            pending: deque[Future[list[Small]]] = deque()
            for batch, large in self._batches(workers):
                pending.append(workers.submit(_check_all, batch))
                # The stream cannot be read on behind a large one before that was taken.
                while pending and (large is not None or len(pending) > WORKERS):
                    yield from pending.popleft().result()
                if large is not None:
                    yield large
                    large.drain()
            for task in pending:
                yield from task.result()

    def end(self) -> int:
        """Check what stands behind the contents; return the size of the file."""
        for expected in self._directory.render(self.manifest, self._manifest_size):
            offset = self._source.offset
            found = self._source.exactly(len(expected))
            if found != expected:
                at = next(i for i, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other)
                raise invalid(offset + at, "the central directory is not the one of the members before it")
        if not self._source.is_at_end():
            raise invalid(self._source.offset, "something stands behind its end")
        return self._source.offset

    def _batches(self, workers: ThreadPoolExecutor) -> Iterator[tuple[list[Raw], Large | None]]:
        """Yield small members together, and large ones alone behind those that come before them."""
        batch: list[Raw] = []
        total = 0
        for item in self.manifest.objects:
            name = form.object_name(item.digest)
            if item.size > PIECE:
                stored = self._header(name, item.size)
                yield batch, Large(item, self._source, stored, workers)
            else:
                batch.append(self._small(name, item))
                total += item.size
                if len(batch) < _BATCH_FILES and total < _BATCH_BYTES:
                    continue
                yield batch, None
            batch, total = [], 0
        yield batch, None

    def _small(self, name: bytes, item: BundleItem) -> Raw:
        stored = self._header(name, item.size)
        return Raw(self._source.offset, item, stored, self._source.exactly(stored.size))

    def _header(self, name: bytes, size: int | None) -> form.Stored:
        offset = self._source.offset
        stored = check_header(self._source.exactly(form.local_size(name)), name, size, offset)
        self._directory.add(stored)
        return stored


def _check_all(batch: list[Raw]) -> list[Small]:
    return [check_member(raw) for raw in batch]


def check_member(raw: Raw) -> Small:
    """Return the content of a small member.

    Raises :class:`BundleInvalid` if it is not what the member's header and name say.
    """
    data = raw.data
    if raw.stored.method == form.DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(data, raw.item.size + 1)
        except zlib.error as error:
            raise invalid(raw.offset, f"{raw.item.digest} cannot be decompressed: {error}") from error
        if len(data) == raw.item.size and (not inflater.eof or inflater.unused_data):
            raise invalid(raw.offset, f"{raw.item.digest} does not end where its compressed bytes do")
    _compare(raw.offset, raw.item, len(data), zlib.crc32(data) == raw.stored.crc, hashlib.sha256(data).digest())
    return Small(raw.item, data)


def _compare(offset: int, item: BundleItem, size: int, has_crc: bool, digest: bytes) -> None:
    if size != item.size:
        how = "more than" if size > item.size else "only"
        raise invalid(offset, f"{item.digest} has {how} {min(size, item.size)} bytes")
    if digest != digest_bytes(item.digest):
        raise invalid(offset, f"the bytes that are said to be {item.digest} are not: they do not match the digest")
    if not has_crc:
        raise invalid(offset, f"{item.digest} does not match its CRC")
