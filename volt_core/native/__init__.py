"""The hot loops over trees and files: in C where the extension was built, else their twins in Python.

``VOLT_NATIVE=c`` or ``VOLT_NATIVE=python`` picks one; both give the same results and errors. This package alone
touches ``volt_core._native``. What it raises is :class:`OSError` with ``errno`` set, and with ``filename`` (relative to
the root, decoded by :func:`os.fsdecode`) wherever a path is known.

The C calls here release the interpreter lock and run to their end: a signal is handled after them, so give
:func:`hash_files` batches rather than a whole image at once. Calls over whole trees and stores, which can be followed
and cancelled, go through :mod:`volt_core.native.jobs`; their twins are with the store.
"""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from volt_core.errors import InvalidConfig
from volt_core.names import shown
from volt_core.native.extension import CImplementation
from volt_core.native.model import PATHS_PER_TURN, WalkEntry
from volt_core.native.twin import PythonImplementation

__all__ = [
    "CImplementation",
    "WalkEntry",
    "find_extension",
    "hash_file",
    "hash_files",
    "implementation",
    "program",
    "walk",
]


def implementation() -> Literal["c", "python"]:
    """Tell which of the two serves.

    :raises InvalidConfig: if ``VOLT_NATIVE`` is neither ``c`` nor ``python``, or asks for an extension that cannot be
        loaded; every call of this module does so
    """
    return _chosen().NAME


def find_extension() -> CImplementation | None:
    """Return the extension if that serves, else None: for calls whose twin is not here but with their callers."""
    chosen = _chosen()
    return chosen if isinstance(chosen, CImplementation) else None


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
    path = Path(__file__).parent.parent / "_bin" / name
    return path if os.access(path, os.X_OK) else None


@functools.cache
def _chosen() -> CImplementation | PythonImplementation:
    wanted = os.environ.get("VOLT_NATIVE")
    if wanted not in (None, "", "c", "python"):
        raise InvalidConfig(
            f"VOLT_NATIVE must be 'c' or 'python', not {shown(wanted)}", hint="Unset it to have what is best here."
        )
    if wanted == "python":
        return PythonImplementation()
    try:
        return CImplementation()
    except ImportError as error:
        if wanted == "c":
            raise InvalidConfig(
                f"VOLT_NATIVE is 'c', but the C extension cannot be loaded: {error}",
                hint="Install gcc, libssl-dev and python3-dev, then reinstall volt-core; or unset VOLT_NATIVE.",
            ) from error
        return PythonImplementation()
