"""File-system work that must not go wrong: atomic writes, locks, removing trees.

Lock order, to be kept by everyone: a workload's lock, then the index's lock, then the store's own.
Locks are ``flock``: the kernel drops them when their holder dies. Only the holder may remove a lock
file; whoever waited for it notices that the name now means another file, or none, and starts over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from volt_core.errors import Locked

_LOCK_POLL = 0.02


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Replace the content of `path` so that a reader or a crash sees the old or the new, never a mixture.

    Durable when it returns, unless a power failure may take it. The parent directory must exist.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.fchmod(descriptor, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if durable:
        sync_directory(path.parent)


def remove_file(path: Path) -> bool:
    """Remove a file or symlink and tell whether there was one; none is success on a read-only file system as well."""
    if not os.path.lexists(path):
        return False
    path.unlink(missing_ok=True)
    return True


def remove_unfinished(path: Path) -> None:
    """Remove what a :func:`write_atomic` to `path` that was killed has left; nobody may be writing it now."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        temporary.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False, timeout: float = 30.0, what: str = "") -> Iterator[None]:
    """Hold the lock file at `path`, made if missing, for the length of the block.

    On a read-only file system a lock file that is missing needs no lock: what it guards cannot change.
    Raises :class:`Locked` after `timeout` seconds; `what` names the thing in the message.
    """
    deadline = time.monotonic() + timeout
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    while True:
        descriptor = _open_lock(path, shared=shared)
        if descriptor is None:
            yield
            return
        try:
            if _try_lock(descriptor, operation) and _is_still(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)
        if time.monotonic() >= deadline:
            raise Locked(
                f"Cannot lock {what or path}: another volt holds it for more than {timeout:g} s",
                hint="Wait for the other command to end, then try again.",
            )
        time.sleep(_LOCK_POLL)


def _open_lock(path: Path, *, shared: bool) -> int | None:
    """Return a descriptor, of a file that may only be read where that will do, or None where there cannot be one."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS and not (shared and error.errno == errno.EACCES):
            raise
        try:
            return os.open(path, os.O_RDONLY | flags)
        except FileNotFoundError:
            if error.errno == errno.EROFS:
                return None
            raise error from None


def _try_lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _is_still(descriptor: int, path: Path) -> bool:
    """Tell whether `path` still names the open file: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def remove_tree(path: Path) -> None:
    """Remove `path` and all below it; nothing there is success.

    Works through directory descriptors, never follows a symlink, opens up directories that their
    owner may not write (as package managers leave them), and stops with EBUSY at a mount point,
    rather than emptying what is mounted there, and where a directory is moved away meanwhile.
    """
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _remove_entry(parent, path.name)
    finally:
        os.close(parent)


def _remove_entry(parent: int, name: str) -> None:
    """Remove one entry iteratively: depth is limited by open descriptors nowhere, as ``..`` leads back."""
    try:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    mount = _mount_id(parent)
    current = os.dup(parent)
    try:
        # Each level's name, the directory it lies in, and its subdirectories that are still there.
        above = os.fstat(current)
        current = _descend(current, name, mount)
        levels = [(name, above, _unlink_files(current))]
        while levels:
            name, above, subdirectories = levels[-1]
            if subdirectories:
                child = subdirectories.pop()
                above = os.fstat(current)
                current = _descend(current, child, mount)
                levels.append((child, above, _unlink_files(current)))
                continue
            current = _ascend(current, name, above)
            os.rmdir(name, dir_fd=current)
            levels.pop()
    finally:
        os.close(current)


def _descend(current: int, name: str, mount: str) -> int:
    """Return a descriptor of the subdirectory, made accessible, and close `current`."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    info = os.stat(name, dir_fd=current, follow_symlinks=False)
    if stat.S_IMODE(info.st_mode) & 0o700 != 0o700 and os.geteuid() != 0:
        os.chmod(f"/proc/self/fd/{current}/{name}", 0o700)
    child = os.open(name, flags, dir_fd=current)
    if _mount_id(child) != mount:
        os.close(child)
        raise OSError(errno.EBUSY, "something is mounted there", name)
    os.close(current)
    return child


def _ascend(current: int, name: str, above: os.stat_result) -> int:
    """Return a descriptor of the directory that `current` was found in, and close `current`.

    Whoever may write in the tree can move `current` away, and then ``..`` leads out of the tree.
    """
    up = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=current)
    if not os.path.samestat(os.fstat(up), above):
        os.close(up)
        raise OSError(errno.EBUSY, "it was moved while it was being removed", name)
    os.close(current)
    return up


def _mount_id(descriptor: int) -> str:
    """Return which mount an open file lies on. Its st_dev would not do: a bind mount has that of its source."""
    with open(f"/proc/self/fdinfo/{descriptor}") as info:
        return next(line for line in info if line.startswith("mnt_id:"))


def _unlink_files(directory: int) -> list[str]:
    """Unlink all but subdirectories and return the names of those."""
    subdirectories = []
    with os.scandir(directory) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                subdirectories.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=directory)
    return subdirectories
