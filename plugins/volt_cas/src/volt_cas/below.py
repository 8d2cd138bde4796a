"""Paths below a directory, as bytes: opening them at any depth and never through a symlink, taking apart, showing."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(root: int, path: bytes) -> int:
    """Return a descriptor of the directory at `path` below `root`; the empty path is `root` itself.

    No component may be a symlink: ENOTDIR or ELOOP then.
    """
    current = os.dup(root)
    for part in path.split(b"/") if path else ():
        try:
            following = os.open(part, FOLDER, dir_fd=current)
        finally:
            os.close(current)
        current = following
    return current


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """Give a descriptor of a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def file_inodes(path: Path) -> Iterator[int]:
    """Yield the inode number of each name of a file below a directory; none of what is none, or may not be read."""
    from volt_core import native

    with contextlib.suppress(NotADirectoryError, PermissionError):
        descriptor = os.open(path, FOLDER)
        try:
            yield from (entry.ino for entry in native.walk(descriptor) if stat.S_ISREG(entry.mode))
        finally:
            os.close(descriptor)


def split(path: bytes) -> tuple[bytes, bytes]:
    """Return the directory part, empty at the top, and the last component."""
    folder, _, name = path.rpartition(b"/")
    return folder, name


def join(folder: bytes, name: bytes) -> bytes:
    """Return the path of `name` in `folder`, which is empty at the top."""
    return folder + b"/" + name if folder else name


def through(descriptor: int, name: bytes) -> bytes:
    """Return a path for calls that take no directory descriptor, such as those on extended attributes."""
    return b"/proc/self/fd/%d/%s" % (descriptor, name)


def shown(path: bytes) -> str:
    """Return a path for people: what is no text or would move the cursor is escaped, ``.`` is the top."""
    text = path.decode("utf-8", "backslashreplace") or "."
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
