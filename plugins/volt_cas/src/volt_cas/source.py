"""The directory that a build reads, and what of it is never stored, in the words of a note."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

from volt_cas import below
from volt_core import native
from volt_core.errors import NotFoundError

STORE = "the store itself"
MOUNTED = "files mounted from elsewhere"
SOCKET = "sockets"
WHITEOUT = "whiteouts of overlayfs (character devices 0:0)"


@contextlib.contextmanager
def open_source(source: Path) -> Iterator[int]:
    """Give a descriptor of the directory. Raises :class:`NotFoundError`."""
    with contextlib.ExitStack() as stack:
        try:
            root = stack.enter_context(below.opened(source))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"'{source}' is no directory", hint="Check the path.") from error
        yield root


def bytes_below(source: Path, *, one_file_system: bool) -> int | None:
    """Return what the files below a directory have, every name counted; None where that cannot be told now."""
    try:
        with below.opened(source) as root:
            walk = native.walk(root, one_file_system=one_file_system)
            return sum(item.size for item in walk if stat.S_ISREG(item.mode))
    except OSError:
        return None  # the scan will say what is wrong
