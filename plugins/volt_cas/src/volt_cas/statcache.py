"""What was read last time, so that an unchanged file is not read again. Safe to delete at any time.

One file per source directory holds what identifies one state of one file (device, inode, size, mtime, ctime) and
the digest and attributes that it had. An entry is *racy* when the file was changed so shortly before it was read
that a later change could bear the same times; it is not kept. The file ends with the SHA-256 of what is before it:
what a crash has torn is as if it were not there. ``csrc/statcache.c`` reads and writes the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from volt_cas.layout import DIGEST_SIZE, Layout
from volt_cas.metadata import Xattrs
from volt_cas.record import NANOSECONDS
from volt_core.native import WalkEntry

_RACY_NS = 2 * NANOSECONDS
_MOST = 2_000_000
_HEADER = struct.pack("=8sII", b"voltstat", 2, 0)
_ENTRY = struct.Struct("=QQqqqII32sII")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Xattrs).decode


class _Known(NamedTuple):
    dev: int
    ino: int
    size: int
    mtime: int
    ctime: int
    mtime_ns: int
    ctime_ns: int
    digest: bytes
    n_xattrs: int
    xattrs: bytes
    """As in a record, without the header of the array."""

    @property
    def identity(self) -> tuple[int, int]:
        return self.dev, self.ino

    @property
    def times(self) -> tuple[int, int]:
        return self.mtime * NANOSECONDS + self.mtime_ns, self.ctime * NANOSECONDS + self.ctime_ns


class Hit(NamedTuple):
    """What an unchanged file is known to have."""

    digest: bytes
    xattrs: Xattrs


class StatCache:
    """The cache of one source directory, for one run; with `rehash` it knows no file for unchanged.

    Attributes:
        racy_ns: what was changed since this moment is not kept.
    """

    def __init__(self, layout: Layout, source: Path, *, rehash: bool = False) -> None:
        name = hashlib.sha256(os.fsencode(os.path.realpath(source))).hexdigest()[:32]
        self._path = layout.cache / f"{name}.stat"
        # Of this run alone: threads of one process may read one source at once. What is in tmp/ dies with its process.
        self._temporary = layout.tmp / f"cache-{os.getpid()}-{os.urandom(4).hex()}"
        self._rehash = rehash
        self._old: dict[tuple[int, int], _Known] = {}
        self._new: dict[tuple[int, int], _Known] = {}
        self.racy_ns = time.time_ns() - _RACY_NS

    def load(self) -> None:
        """Read what was kept; for the Python code alone."""
        with contextlib.suppress(FileNotFoundError):
            self._old = {known.identity: known for known in _entries(self._path.read_bytes())}

    def find(self, entry: WalkEntry) -> Hit | None:
        """Return what is known of the file if nothing tells that it changed."""
        known = None if self._rehash else self._old.get((entry.dev, entry.ino))
        if known is None or (known.size, *known.times) != (entry.size, entry.mtime_ns, entry.ctime_ns):
            return None
        self._new[known.identity] = known
        return Hit(known.digest, _decode(_array_header(known.n_xattrs) + known.xattrs))

    def had(self, entry: WalkEntry) -> bool:
        """Tell whether this file was seen before with its present size: probably it is the same one again."""
        known = self._old.get((entry.dev, entry.ino))
        return known is not None and known.size == entry.size

    def remember(self, info: os.stat_result, digest: bytes, xattrs: Xattrs) -> None:
        """Keep what was found, unless it is racy."""
        if max(info.st_mtime_ns, info.st_ctime_ns) < self.racy_ns and len(self._new) < _MOST:
            mtime, mtime_ns = divmod(info.st_mtime_ns, NANOSECONDS)
            ctime, ctime_ns = divmod(info.st_ctime_ns, NANOSECONDS)
            state = info.st_dev, info.st_ino, info.st_size, mtime, ctime, mtime_ns, ctime_ns
            known = _Known(*state, digest, len(xattrs), b"".join(map(_encode, xattrs)))
            self._new[known.identity] = known

    def save(self) -> None:
        """Replace the file; the caller keeps gc away. Not made durable: one that is torn is ignored."""
        with contextlib.suppress(OSError), self.replacing() as file:
            if file is not None:
                data = b"".join((_HEADER, *map(_packed, self._new.values())))
                with open(file, "wb", closefd=False) as stream:
                    stream.write(data + hashlib.sha256(data).digest())

    @contextlib.contextmanager
    def reading(self) -> Iterator[int | None]:
        """Give a descriptor of the file, or None; for the extension."""
        try:
            descriptor = None if self._rehash else os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = None
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    @contextlib.contextmanager
    def replacing(self) -> Iterator[int | None]:
        """Give a descriptor of a new file that takes the old one's place at the end; None where there is no room."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(self._temporary, flags, 0o600)
        except OSError:
            yield None
            return
        try:
            yield descriptor
            self._temporary.rename(self._path)
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def _entries(data: bytes) -> Iterator[_Known]:
    end = len(data) - DIGEST_SIZE
    if not data.startswith(_HEADER) or hashlib.sha256(data[:end]).digest() != data[end:]:
        return
    at = len(_HEADER)
    while at < end:
        *state, n_xattrs, size = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        yield _Known._make((*state, n_xattrs, data[at : at + size]))
        at += size + -size % 8


def _packed(known: _Known) -> bytes:
    size = len(known.xattrs)
    return _ENTRY.pack(*known[:-1], size) + known.xattrs + bytes(-size % 8)


def _array_header(count: int) -> bytes:
    """Return how MessagePack begins an array of so many."""
    return bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
