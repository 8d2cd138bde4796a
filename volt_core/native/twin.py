"""The same calls with nothing but the standard library."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Literal, Self

from volt_core.native.model import PATHS_PER_TURN, WalkEntry, join, os_error

READ_SIZE = 1024 * 1024
OPEN_LEVELS = 32  # directories that a walk keeps open at once


class PythonImplementation:
    """Serves where the extension was not built."""

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
            return os_error(error.errno or errno.EIO, path)


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
            raise os_error(error.errno or errno.EIO, b"") from error
        yield root
        while self._levels:
            try:
                entry = self._step()
            except OSError as error:
                raise os_error(error.errno or errno.EIO, self._path) from error
            if entry:
                yield entry

    def _step(self) -> WalkEntry | None:
        level = self._levels[-1]
        name = next(level.names, None)
        if name is None:
            self._path = self._path[: level.path_size]
            self._leave()
            return None
        self._path = join(self._path[: level.path_size], name)
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
