"""What was read last time, so that an unchanged file is not read again. Safe to delete at any time.

One file per source directory holds, for each path, what identifies one state of one file (device, inode,
size, mtime, ctime) and the digest and attributes that it had. An entry is *racy* when the file was changed
so shortly before it was read that a later change could bear the same times; it is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from volt_cas.layout import Layout
from volt_cas.metadata import Xattrs
from volt_core.native import WalkEntry

_RACY_NS = 2 * 10**9
_MOST = 2_000_000


class _Known(msgspec.Struct, frozen=True, array_like=True, gc=False):
    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    digest: bytes
    xattrs: Xattrs


class _File(msgspec.Struct, frozen=True, array_like=True):
    version: int
    known: dict[bytes, _Known]


class Hit(NamedTuple):
    """What an unchanged file is known to have."""

    digest: bytes
    xattrs: Xattrs


class StatCache:
    """The cache of one source directory, for one run; with `rehash` it knows no file for unchanged."""

    def __init__(self, layout: Layout, source: Path, *, rehash: bool = False) -> None:
        name = hashlib.sha256(os.fsencode(os.path.realpath(source))).hexdigest()[:32]
        self._path = layout.cache / f"{name}.stat"
        self._tmp = layout.tmp
        self._started = time.time_ns()
        self._rehash = rehash
        self._old: dict[bytes, _Known] = {}
        self._new: dict[bytes, _Known] = {}
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            file = msgspec.msgpack.decode(self._path.read_bytes(), type=_File)
            if file.version == 1:
                self._old = file.known

    def find(self, entry: WalkEntry) -> Hit | None:
        """Return what is known of the file if nothing tells that it changed."""
        known = None if self._rehash else self._old.get(entry.path)
        if known is None or (known.ino, known.dev, known.size, known.mtime_ns, known.ctime_ns) != (
            entry.ino,
            entry.dev,
            entry.size,
            entry.mtime_ns,
            entry.ctime_ns,
        ):
            return None
        self._new[entry.path] = known
        return Hit(known.digest, known.xattrs)

    def had(self, entry: WalkEntry) -> bool:
        """Tell whether a file of this path and size was seen before: probably it is the same one again."""
        known = self._old.get(entry.path)
        return known is not None and known.size == entry.size

    def remember(self, path: bytes, info: os.stat_result, digest: bytes, xattrs: Xattrs) -> None:
        """Keep what was found, unless it is racy."""
        if max(info.st_mtime_ns, info.st_ctime_ns) < self._started - _RACY_NS and len(self._new) < _MOST:
            times = (info.st_mtime_ns, info.st_ctime_ns)
            self._new[path] = _Known(info.st_dev, info.st_ino, info.st_size, *times, digest, xattrs)

    def save(self) -> None:
        """Replace the file; the caller keeps gc away. Not made durable: a torn file does not decode and is ignored."""
        # Of this run alone: threads of one process may read one source at once. What is in tmp/ dies with its process.
        temporary = self._tmp / f"cache-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            temporary.write_bytes(msgspec.msgpack.encode(_File(1, self._new)))
            temporary.rename(self._path)
        except (OSError, OverflowError):  # full disk; times that msgpack has no integer for
            temporary.unlink(missing_ok=True)
