"""Single records and contents out of the file of a bundle: for whoever repairs a store.

What is small is given out after it was checked; the stream of what is large raises where it ends, if it is wrong.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self, cast

from volt_cas.bundle import format as form
from volt_cas.bundle.header import check_header, invalid
from volt_cas.bundle.read import BundleReader, Large, Raw, Source, check_member
from volt_cas.bundle.work import open_workers
from volt_cas.sparse import PIECE
from volt_core.contracts import BundleItem


class _Member(NamedTuple):
    offset: int
    item: BundleItem
    stored: form.Stored


class BundleSource:
    """The file of a bundle. To be closed, or used as a context.

    Attributes:
        name: what to call it.
    """

    def __init__(self, path: Path) -> None:
        """Find where everything lies. Raises :class:`BundleInvalid` and :class:`OSError`."""
        self.name = f"bundle '{path}'"
        self._file = open(path, "rb", buffering=0)
        try:
            manifest = BundleReader(cast(BinaryIO, self._file)).manifest
            offset = form.local_size(form.MANIFEST) + len(form.encode_manifest(manifest))
            self._records: dict[str, _Member] = {}
            self._objects: dict[str, _Member] = {}
            for item in manifest.records:
                offset = self._find(form.record_name(item.digest), item, offset, self._records)
            for item in manifest.objects:
                offset = self._find(form.object_name(item.digest), item, offset, self._objects)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def find_record(self, digest: str) -> bytes | None:
        """Return a record, or None if the bundle has none of that digest. Raises :class:`BundleInvalid`."""
        member = self._records.get(digest)
        return None if member is None else self._content(member)

    def find_object(self, digest: str, size: int) -> BinaryIO | None:
        """Return a stream of a content, which the caller closes, or None. Raises :class:`BundleInvalid`."""
        member = self._objects.get(digest)
        if member is None or member.item.size != size:
            return None
        return io.BytesIO(self._content(member)) if size <= PIECE else _stream_of(self._pieces(member))

    def _find(self, name: bytes, item: BundleItem, offset: int, found: dict[str, _Member]) -> int:
        """Note where a member lies; return where the next one begins."""
        header = os.pread(self._file.fileno(), form.local_size(name), offset)
        if len(header) < form.local_size(name):
            raise invalid(offset + len(header), "it ends too early")
        stored = check_header(header, name, item.size, offset)
        found[item.digest] = _Member(offset + len(header), item, stored)
        return offset + len(header) + stored.size

    def _content(self, member: _Member) -> bytes:
        data = self._source(member).exactly(member.stored.size)
        return check_member(Raw(member.offset, member.item, member.stored, data)).data

    def _pieces(self, member: _Member) -> Iterator[bytes]:
        with open_workers() as workers:
            yield from Large(member.item, self._source(member), member.stored, workers).pieces()

    def _source(self, member: _Member) -> Source:
        return Source(cast(BinaryIO, _At(self._file.fileno(), member.offset)), member.offset)


class _At:
    """Reads a file from a place of its own."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._offset = offset

    def read(self, size: int) -> bytes:
        data = os.pread(self._descriptor, size, self._offset)
        self._offset += len(data)
        return data


class _Pieces(io.RawIOBase):
    """A stream of what an iterator gives."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _stream_of(pieces: Iterator[bytes]) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Pieces(pieces), PIECE))
