"""Where to measure: a folder of its own on the file system of the user's store, that goes when the run ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from volt_core import fs
from volt_core.errors import StoreFull, UsageError

_PREFIX = ".volt-bench-"


def nearest_directory(path: Path) -> Path:
    """Return the nearest directory above `path` that exists: on the file system where `path` is or will be."""
    path = path.absolute().parent
    while not path.is_dir():
        path = path.parent
    return path


@contextlib.contextmanager
def temporary_folder(below: Path, needed: int) -> Iterator[Path]:
    """Give a new folder below `below`, and remove it in the end, also when interrupted.

    What a run left that was killed is removed as well. Raises :class:`UsageError` if nothing can be made there,
    :class:`StoreFull` if fewer than `needed` bytes are free.
    """
    status = os.statvfs(below)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise StoreFull(
            f"Cannot measure in '{below}': {needed >> 20} MiB are needed, {free >> 20} are free",
            hint="Name another place by --directory, or take fewer files.",
        )
    _remove_dead(below)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=below))
    except OSError as error:
        raise UsageError(
            f"Cannot measure in '{below}': {error.strerror}", hint="Name a directory of yours by --directory."
        ) from error
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until this process ends: so others see that it lives
        yield folder
    finally:
        with _uninterrupted():
            fs.remove_tree(folder)
        os.close(descriptor)


def _remove_dead(below: Path) -> None:
    """Remove folders of this user whose process has ended, however it did."""
    for path in below.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    fs.remove_tree(path)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let a second Ctrl-C wait: the user wants to be rid of the folder too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
