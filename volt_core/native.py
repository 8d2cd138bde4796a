"""The hot loops over trees and files: in C where the extension was built, else their twins in Python.

``VOLT_NATIVE=c`` or ``VOLT_NATIVE=python`` picks one; both give the same results and the same errors. This module alone
touches ``volt_core._native``. What it raises is :class:`OSError` with ``errno`` set, and with ``filename`` (relative to
the root, decoded by :func:`os.fsdecode`) wherever a path is known.

The C calls release the interpreter lock and run to their end: a signal is handled after them, so give
:func:`hash_files` batches rather than a whole image at once.
"""

import errno
import functools
import hashlib
import importlib
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

__all__ = ["WalkEntry", "hash_file", "hash_files", "implementation", "program", "walk"]

DIGEST_SIZE = 32
READ_SIZE = 1024 * 1024
OPEN_LEVELS = 32  # directories that a walk keeps open at once
PATHS_PER_TURN = 32  # neighbours in a list mostly share their directory, which then stays open


class WalkEntry(NamedTuple):
    """One entry of a tree, as lstat() saw it.

    ``path`` is relative to the root, and empty for the root itself. ``blocks`` counts units of 512 bytes.
    """

    path: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    dev: int
    ino: int
    nlink: int
    rdev: int
    blocks: int


def implementation() -> Literal["c", "python"]:
    """Tell which of the two serves.

    :raises ImportError: if ``VOLT_NATIVE=c`` asks for an extension that was not built
    :raises ValueError: if ``VOLT_NATIVE`` is neither ``c`` nor ``python``
    """
    return _chosen().NAME


def walk(root_fd: int, *, one_file_system: bool = False) -> Iterator[WalkEntry]:
    """List the tree below a directory, without following symbolic links.

    A directory comes before its children, and these in byte order of their names, each followed by its own subtree.
    Entries that vanish meanwhile are left out. With ``one_file_system``, a directory on another device (``st_dev``) is
    yielded but not entered. ``root_fd`` must stay open until the iterator is exhausted.

    :raises OSError: naming the entry, if a directory cannot be read; the entries before it may or may not have been
        yielded. ESTALE: a directory was moved while the walk was deep inside it.
    """
    return _chosen().walk(root_fd, one_file_system=one_file_system)


def hash_file(fd: int) -> tuple[bytes, int]:
    """Return the SHA-256 (32 bytes) and the number of the bytes from the current offset of ``fd`` to its end."""
    return _chosen().hash_file(fd)


def hash_files(root_fd: int, paths: Sequence[bytes], *, threads: int | None = None) -> list[bytes | OSError]:
    """Return the SHA-256 of each regular file, or the error that kept it from being read, in the order of ``paths``.

    The paths are relative to ``root_fd``. One that is absolute, holds an empty, ``.`` or ``..`` component or a NUL, or
    leads to anything but a regular file gives EINVAL; no symbolic link is followed anywhere in it. ``threads`` is the
    number of files read at a time, by default that of the CPUs this process may use.
    """
    if threads is None:
        threads = len(os.sched_getaffinity(0))
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    threads = max(1, min(threads, -(-len(paths) // PATHS_PER_TURN)))
    return _chosen().hash_files(root_fd, paths, threads=threads)


def program(name: str) -> Path | None:
    """Find one of Volt's own static helper programs; None if the install could not build it."""
    path = Path(__file__).parent / "_bin" / name
    return path if os.access(path, os.X_OK) else None


class CImplementation:
    """The calls of ``csrc/``, through cffi."""

    NAME: Literal["c"] = "c"
    # struct volt_walk_record
    RECORD = struct.Struct("=4q4Q8I")

    def __init__(self) -> None:
        module = importlib.import_module("volt_core._native")
        self._lib: Any = module.lib
        self._ffi: Any = module.ffi

    def walk(self, root_fd: int, *, one_file_system: bool = False) -> Iterator[WalkEntry]:
        records = self._records(root_fd, one_file_system)
        path, ends = b"", [0]  # ends[depth]: length of the innermost path of that depth
        at, end = 0, len(records)
        unpack, header_size, make = self.RECORD.unpack_from, self.RECORD.size, WalkEntry._make
        while at < end:
            header = unpack(records, at)
            size, mtime, ctime, blocks, dev, ino, nlink, rdev = header[:8]
            mtime_nsec, ctime_nsec, mode, uid, gid, depth, name_size, _ = header[8:]
            at += header_size
            if depth:
                path = _join(path[: ends[depth - 1]], records[at : at + name_size])
                ends[depth:] = [len(path)]
            at += -(-name_size // 8) * 8  # padded to a multiple of 8
            mtime_ns, ctime_ns = mtime * 10**9 + mtime_nsec, ctime * 10**9 + ctime_nsec
            yield make((path, mode, uid, gid, size, mtime_ns, ctime_ns, dev, ino, nlink, rdev, blocks))

    def _records(self, root_fd: int, one_file_system: bool) -> Any:
        records = self._ffi.new("unsigned char **")
        records_size = self._ffi.new("size_t *")
        failed_path = self._ffi.new("char **")
        result = self._lib.volt_walk(root_fd, one_file_system, records, records_size, failed_path)
        if result < 0:
            failed = self._ffi.gc(failed_path[0], self._lib.volt_free)
            raise _os_error(-result, self._ffi.string(failed) if failed else b"")
        owned = self._ffi.gc(records[0], self._lib.volt_free, records_size[0])
        return self._ffi.buffer(owned, records_size[0])

    def hash_file(self, fd: int) -> tuple[bytes, int]:
        digest = self._ffi.new("unsigned char[]", DIGEST_SIZE)
        size = self._ffi.new("uint64_t *")
        result = self._lib.volt_hash_file(fd, digest, size)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return bytes(self._ffi.buffer(digest)), size[0]

    def hash_files(self, root_fd: int, paths: Sequence[bytes], *, threads: int) -> list[bytes | OSError]:
        sizes = self._ffi.new("size_t[]", [len(path) for path in paths])
        digests = self._ffi.new("unsigned char[]", DIGEST_SIZE * len(paths))
        errors = self._ffi.new("int[]", len(paths))
        joined = b"\0".join(paths)  # cffi passes the NUL that ends a bytes object, too
        result = self._lib.volt_hash_files(root_fd, joined, sizes, len(paths), threads, digests, errors)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        view = self._ffi.buffer(digests)
        return [
            _os_error(-error, path) if error else view[i * DIGEST_SIZE : (i + 1) * DIGEST_SIZE]
            for i, (path, error) in enumerate(zip(paths, errors, strict=True))
        ]


class PythonImplementation:
    """The same calls with nothing but the standard library."""

    NAME: Literal["python"] = "python"

    def walk(self, root_fd: int, *, one_file_system: bool = False) -> Iterator[WalkEntry]:
        with _Walk(root_fd, one_file_system) as entries:
            yield from entries

    def hash_file(self, fd: int) -> tuple[bytes, int]:
        digest, size = hashlib.sha256(), 0
        while chunk := os.read(fd, READ_SIZE):
            digest.update(chunk)
            size += len(chunk)
        return digest.digest(), size

    def hash_files(self, root_fd: int, paths: Sequence[bytes], *, threads: int) -> list[bytes | OSError]:
        def hash_turn(start: int) -> list[bytes | OSError]:
            with _Parent(root_fd) as parent:
                return [self._hash_path(parent, path) for path in paths[start : start + PATHS_PER_TURN]]

        starts = range(0, len(paths), PATHS_PER_TURN)
        if threads == 1:
            turns = map(hash_turn, starts)
            return [result for turn in turns for result in turn]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads) as pool:
            return [result for turn in pool.map(hash_turn, starts) for result in turn]

    def _hash_path(self, parent: "_Parent", path: bytes) -> bytes | OSError:
        try:
            fd = parent.open_regular(path)
            try:
                return self.hash_file(fd)[0]
            finally:
                os.close(fd)
        except OSError as error:
            return _os_error(error.errno or errno.EIO, path)


class _Level:
    """A directory that a walk is inside of."""

    __slots__ = ("fd", "names", "path_size", "status")

    def __init__(self, fd: int, path: bytes) -> None:
        self.fd = fd  # -1 while it is closed to save descriptors
        self.status = os.fstat(fd)
        self.names = iter(sorted(map(os.fsencode, os.listdir(fd))))
        self.path_size = len(path)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class _Walk:
    """The levels from the root down to where the walk is; only the deepest OPEN_LEVELS of them are open."""

    def __init__(self, root_fd: int, one_file_system: bool) -> None:
        self._root_fd = root_fd
        self._one_file_system = one_file_system
        self._levels: list[_Level] = []
        self._path = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for level in self._levels:
            level.close()

    def __iter__(self) -> Iterator[WalkEntry]:
        try:
            # A descriptor of our own: reading names moves the offset, which the caller's shares with its duplicates.
            root = self._enter(_open_noatime(b".", os.O_RDONLY | os.O_DIRECTORY, self._root_fd))
        except OSError as error:
            raise _os_error(error.errno or errno.EIO, b"") from error
        yield root
        while self._levels:
            try:
                entry = self._step()
            except OSError as error:
                raise _os_error(error.errno or errno.EIO, self._path) from error
            if entry:
                yield entry

    def _step(self) -> WalkEntry | None:
        level = self._levels[-1]
        name = next(level.names, None)
        if name is None:
            self._path = self._path[: level.path_size]
            self._leave()
            return None
        self._path = _join(self._path[: level.path_size], name)
        try:
            status = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
            root_dev = self._levels[0].status.st_dev
            if not stat.S_ISDIR(status.st_mode) or (self._one_file_system and status.st_dev != root_dev):
                return _entry(self._path, status)
            fd = _open_noatime(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, level.fd)
        except FileNotFoundError:
            return None
        return self._enter(fd)

    def _enter(self, take_fd: int) -> WalkEntry:
        try:
            level = _Level(take_fd, self._path)
        except BaseException:
            os.close(take_fd)
            raise
        self._levels.append(level)
        if len(self._levels) > OPEN_LEVELS:
            self._levels[-1 - OPEN_LEVELS].close()
        return _entry(self._path, level.status)

    def _leave(self) -> None:
        level = self._levels[-1]
        parent = self._levels[-2] if len(self._levels) > 1 else None
        if parent and parent.fd < 0:
            fd = _open_noatime(b"..", os.O_RDONLY | os.O_DIRECTORY, level.fd)
            if not os.path.samestat(os.fstat(fd), parent.status):
                os.close(fd)
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            parent.fd = fd
        self._levels.pop().close()


class _Parent:
    """The directory that the last path lay in, kept open for its neighbours."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._fd = root_fd
        self._components: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._move_to(self._root_fd, [])

    def open_regular(self, path: bytes) -> int:
        *components, name = path.split(b"/")
        # Plain components only: with neither ".." nor links to follow, no path leads out of the root.
        if b"\0" in path or not {b"", b".", b".."}.isdisjoint([*components, name]):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if components != self._components:
            self._descend(components)
        # Asked before opening, since opening a device may already do something, and once more after it.
        _check_regular(os.stat(name, dir_fd=self._fd, follow_symlinks=False))
        fd = _open_noatime(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, self._fd)
        try:
            _check_regular(os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _descend(self, components: list[bytes]) -> None:
        self._move_to(self._root_fd, [])
        for depth, component in enumerate(components, 1):
            fd = os.open(component, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._fd)
            self._move_to(fd, components[:depth])

    def _move_to(self, fd: int, components: list[bytes]) -> None:
        if self._fd != self._root_fd:
            os.close(self._fd)
        self._fd, self._components = fd, components


def _join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


def _entry(path: bytes, status: os.stat_result) -> WalkEntry:
    return WalkEntry(
        path,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_dev,
        status.st_ino,
        status.st_nlink,
        status.st_rdev,
        status.st_blocks,
    )


def _open_noatime(name: bytes, flags: int, dir_fd: int) -> int:
    """Open without touching the access time where the kernel allows it: to the owner and to CAP_FOWNER."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return os.open(name, flags, dir_fd=dir_fd)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _os_error(code: int, path: bytes) -> OSError:
    return OSError(code, os.strerror(code), os.fsdecode(path or b"."))


@functools.cache
def _chosen() -> CImplementation | PythonImplementation:
    wanted = os.environ.get("VOLT_NATIVE")
    if wanted not in (None, "", "c", "python"):
        raise ValueError(f"VOLT_NATIVE must be 'c' or 'python', not {wanted!r}")
    if wanted == "python":
        return PythonImplementation()
    try:
        return CImplementation()
    except ImportError as error:
        if wanted == "c":
            raise ImportError(f"VOLT_NATIVE=c, but volt_core._native cannot be imported: {error}") from error
        return PythonImplementation()
