"""Opening what lies below a directory descriptor, at any depth, never through a symlink."""

from __future__ import annotations

import os

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
