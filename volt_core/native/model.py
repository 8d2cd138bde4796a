"""What both implementations give, and how they fail."""

import os
from typing import NamedTuple

DIGEST_SIZE = 32
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


def join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


def os_error(code: int, path: bytes) -> OSError:
    return OSError(code, os.strerror(code), os.fsdecode(path or b"."))
