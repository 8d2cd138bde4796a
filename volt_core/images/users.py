"""Users of an image, from its own ``/etc/passwd`` and ``/etc/group``, which are not to be trusted."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from pathlib import Path
from typing import NamedTuple

from volt_core.errors import InvalidSpec
from volt_core.names import shown

_SYS_OPENAT2 = 437  # the same on every architecture
_RESOLVE_IN_ROOT = 0x10
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_SIZE_LIMIT = 4 * 1024 * 1024


class Identity(NamedTuple):
    """Who the payload is."""

    uid: int
    gid: int
    home: str


def find_identity(root: Path, user: str) -> Identity:
    """Resolve ``USER[:GROUP]``, names or numbers; empty means root.

    Raises :class:`InvalidSpec` for a name that the image does not know. A number need not be known.
    """
    wanted, _, group = user.partition(":")
    entry = _find_line(root, "etc/passwd", wanted or "0", fields=6)
    if entry is not None:
        uid, gid, home = int(entry[2]), int(entry[3]), entry[5] or "/"
    elif _is_number(wanted or "0"):
        uid, gid = int(wanted or "0"), 0
        home = "/root" if uid == 0 else "/"
    else:
        _check_range(wanted)
        raise InvalidSpec(f"The image has no user {shown(wanted)}", hint="Name one of its /etc/passwd, or a number.")
    if group:
        gid = _find_group(root, group)
    return Identity(uid, gid, home)


def _find_group(root: Path, group: str) -> int:
    entry = _find_line(root, "etc/group", group, fields=3)
    if entry is not None:
        return int(entry[2])
    if _is_number(group):
        return int(group)
    _check_range(group)
    raise InvalidSpec(f"The image has no group {shown(group)}", hint="Name one of its /etc/group, or a number.")


def _find_line(root: Path, path: str, wanted: str, *, fields: int) -> list[str] | None:
    """Return the fields of the line with that name or, for a number, with that id."""
    column = 2 if _is_number(wanted) else 0
    for line in _read_inside(root, path).splitlines():
        entry = line.split(":")
        # No environment can hold a NUL, and the home directory goes into one.
        sound = len(entry) >= fields and "\0" not in line and all(map(_is_number, entry[2 : 4 if fields > 3 else 3]))
        if sound and entry[column] == wanted:
            return entry
    return None


def _check_range(text: str) -> None:
    if text.isascii() and text.isdigit():
        raise InvalidSpec(f"The id {shown(text)} is out of range", hint="Ids go from 0 to 4294967294.")


def _is_number(text: str) -> bool:
    # Ids are 32 bits wide, and the last one means "none".
    return len(text) <= 10 and text.isascii() and text.isdigit() and int(text) < 2**32 - 1


def _read_inside(root: Path, path: str) -> str:
    """Read a text file of the image with its symlinks resolved inside it; empty if there is none."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = _open_inside(root_fd, path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES):
            return ""
        raise
    finally:
        os.close(root_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return ""
    with open(fd, "rb") as file:
        return file.read(_SIZE_LIMIT).decode("utf-8", "surrogateescape")


def _open_inside(root_fd: int, path: str) -> int:
    how = struct.pack("=3Q", _FLAGS, 0, _RESOLVE_IN_ROOT)
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.syscall(_SYS_OPENAT2, root_fd, path.encode(), how, len(how))
    if fd >= 0:
        return fd
    code = ctypes.get_errno()
    if code not in (errno.ENOSYS, errno.EPERM):
        raise OSError(code, os.strerror(code), path)
    # An old kernel, or a filter that knows no openat2: then no symlink is followed at all.
    directory, _, name = path.rpartition("/")
    parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        return os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)
