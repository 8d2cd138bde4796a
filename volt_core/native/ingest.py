"""Storing a directory: everything below it is read, hashed and staged by one call of the extension."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from volt_core.native.extension import CImplementation
from volt_core.native.jobs import Advance, count_threads, run
from volt_core.native.model import os_error
from volt_core.native.owner import Owner, OwnerStruct

_LINK = struct.Struct("=3Q")
NOTES = (
    "store",
    "mounted",
    "socket",
    "whiteout",
    "xattrs_overlay",
    "xattrs_security",
    "xattrs_system",
    "xattrs_trusted",
    "xattrs_unknown",
    "xattrs_unreadable",
)
"""What the counts of :class:`Ingested` are of, as ``enum volt_note`` has them."""


class ChangedError(OSError):
    """What ``filename`` names changed while it was read."""


class TooDeepError(OSError):
    """What ``filename`` names is more directories deep than a tree can be."""


class Glob(NamedTuple):
    """What is left out: a program of ``csrc/glob.h``, for whole paths or for last components."""

    program: Sequence[int]
    whole: bool


class Request(NamedTuple):
    """What to read, and where to write. Descriptors stay the caller's; a cache of -1 is none."""

    root_fd: int
    store_fd: int
    staging_fd: int
    cache_fd: int
    new_cache_fd: int
    racy_ns: int
    one_file_system: bool
    clamp: bool
    owner: Owner
    globs: Sequence[Glob] = ()
    mounts: Sequence[bytes] = ()


class Ingested(NamedTuple):
    """What was read and staged."""

    digest: bytes
    """Of the root's directory record."""
    metadata: bytes
    """Of the root, encoded as in a record."""
    files: int
    content_bytes: int
    new_objects: int
    new_bytes: int
    links: Sequence[tuple[tuple[int, int], bytes]]
    """Device and inode, and path, of each name of what has several."""
    notes: Mapping[str, tuple[int, bytes]]
    """How many there were of each of :data:`NOTES`, and the path of the first."""


def ingest(native: CImplementation, request: Request, advance: Advance, *, threads: int | None = None) -> Ingested:
    """Stage everything below a directory but the top record; the caller publishes it.

    :raises OSError: with the path below the root, if that cannot be read; :class:`ChangedError`, :class:`TooDeepError`
    """
    ffi = native.ffi
    result = ffi.new("struct volt_ingested *")
    arguments = _Arguments(native, request, threads or count_threads())
    try:
        run(native, lambda job: int(native.lib.volt_ingest(arguments.pointer, job, result)), advance)
        return _taken(ffi, result)
    except OSError as error:
        if result.failed_path == ffi.NULL:
            raise
        found = os_error(error.errno or errno.EIO, ffi.string(result.failed_path))
        kind = {
            native.lib.VOLT_INGEST_CHANGED: ChangedError,
            native.lib.VOLT_INGEST_TOO_DEEP: TooDeepError,
        }.get(result.reason, OSError)
        raise kind(found.errno, found.strerror, found.filename) from error
    finally:
        _free(native, result)


def glob_matches(native: CImplementation, program: Sequence[int], text: bytes) -> bool:
    """Tell whether a program of ``csrc/glob.h`` matches a name or path, as it does in :func:`ingest`."""
    return bool(native.lib.volt_glob_matches(native.ffi.new("uint32_t[]", program), text, len(text)))


class _Arguments:
    """A ``const struct volt_ingest *`` and what it points to."""

    def __init__(self, native: CImplementation, request: Request, threads: int) -> None:
        ffi = native.ffi
        self._owner = OwnerStruct(native, request.owner)
        starts: list[int] = []
        numbers: list[int] = []
        for glob in request.globs:
            starts.append(len(numbers))
            numbers += glob.program
        mounts = [ffi.new("char[]", path) for path in sorted(request.mounts)]
        self._kept = (
            mounts,
            ffi.new("uint32_t[]", numbers),
            ffi.new("size_t[]", starts),
            ffi.new("bool[]", [glob.whole for glob in request.globs]),
            ffi.new("char *[]", mounts),
        )
        self.pointer: Any = ffi.new(
            "struct volt_ingest *",
            {
                "root_fd": request.root_fd,
                "store_fd": request.store_fd,
                "staging_fd": request.staging_fd,
                "cache_fd": request.cache_fd,
                "new_cache_fd": request.new_cache_fd,
                "racy_ns": request.racy_ns,
                "one_file_system": request.one_file_system,
                "clamp": request.clamp,
                "n_threads": threads,
                "owner": self._owner.pointer,
                "globs": self._kept[1],
                "glob_starts": self._kept[2],
                "glob_whole": self._kept[3],
                "n_globs": len(request.globs),
                "mounts": ffi.cast("const char *const *", self._kept[4]),
                "n_mounts": len(mounts),
            },
        )


def _taken(ffi: Any, result: Any) -> Ingested:
    def buffer(pointer: Any, size: int) -> bytes:
        return bytes(ffi.buffer(pointer, size)) if size else b""

    return Ingested(
        digest=bytes(ffi.buffer(result.digest)),
        metadata=buffer(result.metadata, result.metadata_size),
        files=result.files,
        content_bytes=result.bytes,
        new_objects=result.new_objects,
        new_bytes=result.new_bytes,
        links=tuple(_links(buffer(result.links, result.links_size))),
        notes={
            name: (result.note_counts[i], ffi.string(result.note_paths[i]))
            for i, name in enumerate(NOTES)
            if result.note_counts[i]
        },
    )


def _links(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    while at < len(data):
        dev, ino, size = _LINK.unpack_from(data, at)
        at += _LINK.size
        yield (dev, ino), data[at : at + size]
        at += size


def _free(native: CImplementation, result: Any) -> None:
    for pointer in (result.metadata, result.links, result.failed_path, *result.note_paths):
        native.lib.volt_free(pointer)
