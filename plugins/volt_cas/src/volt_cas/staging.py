"""What is being written: a directory per run, and making it durable."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from volt_cas import below
from volt_cas.layout import Layout
from volt_core import fs


@contextlib.contextmanager
def open_staging(layout: Layout) -> Iterator[Path]:
    """Give a directory below ``tmp/`` that is removed at the end; its lock tells that its process lives."""
    _remove_dead(layout)
    path = layout.tmp / f"run-{os.getpid()}-{os.urandom(4).hex()}"
    while True:
        # Until it is locked, somebody may take it for dead: then it is made anew.
        path.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink and path.exists():
            break
        os.close(descriptor)
    try:
        yield path
    finally:
        fs.remove_tree(path)
        os.close(descriptor)


def _remove_dead(layout: Layout) -> None:
    for path in layout.tmp.iterdir():
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, BlockingIOError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fs.remove_tree(path)
            finally:
                os.close(descriptor)


def sync_store(layout: Layout) -> None:
    """Make the store durable, with what other runs have linked: before something is named that rests on it."""
    with below.opened(layout.path) as descriptor:
        sync_filesystem(descriptor)


def sync_filesystem(descriptor: int) -> None:
    """Make everything on the file system of an open file durable. Python has no syncfs(2) of its own."""
    import ctypes  # only what writes needs it

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
