"""Moving what was staged to where it belongs.

A staging directory has a directory for each thread that writes (0 for the Python code, others for the extension), so
that no two wait for the lock of one. In each are ``objects`` and ``trees``; what takes the place of something damaged
is in ``objects.replace`` and ``trees.replace``; top records, which come last, are in ``tops``. ``csrc/publish.c`` does
the same. The extension stages in ``new``, fanned out as the store is, what the store has no folder for.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from volt_core import native
from volt_core.native.staging import publish as native_publish

OBJECTS = "objects"
TREES = "trees"
TOPS = "tops"
OWN = "0"
"""The directory of the Python code."""
_REPLACE = ".replace"
_NAME = re.compile("[0-9a-f]{64}")


def staged_name(folder: str, digest: bytes, *, replace: bool) -> str:
    """Return where in the directory of a thread a file belongs."""
    return f"{folder}{_REPLACE if replace else ''}/{digest.hex()}"


def make_staging_folder(staging: int, path: str) -> None:
    """Make a directory of two levels in a staging directory; it may be there."""
    for name in (os.path.dirname(path), path):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=staging)


def have_staged(staging: int) -> bool:
    """Tell whether there is anything to publish; ``new`` of the extension has the same two levels."""
    return any(_names(staging, f"{thread}/{folder}") for thread, folder in _folders(staging))


def publish(staging: int, store: int) -> None:
    """Put all but top records into place; what the store has stays, but for what is to be replaced."""
    extension = native.find_extension()
    if extension is not None:
        native_publish(extension, staging, store)
        return
    for thread, folder in _folders(staging):
        if folder.removesuffix(_REPLACE) != TOPS:
            _publish_folder(staging, store, f"{thread}/{folder}", folder.removesuffix(_REPLACE))


def publish_tops(staging: int, store: int) -> None:
    """Put the top records into place."""
    for folder in (TOPS, TOPS + _REPLACE):
        _publish_folder(staging, store, f"{OWN}/{folder}", TREES)


def _folders(staging: int) -> Iterator[tuple[str, str]]:
    for thread in _names(staging, "."):
        if not thread.startswith("."):
            yield from ((thread, folder) for folder in _names(staging, thread))


def _names(staging: int, path: str) -> list[str]:
    """Return what is in a directory, by a descriptor of its own: one that is shared has an offset that moves."""
    try:
        return os.listdir(f"/proc/self/fd/{staging}/{path}")
    except FileNotFoundError:
        return []


def _publish_folder(staging: int, store: int, source: str, target: str) -> None:
    replace = source.endswith(_REPLACE)
    for name in filter(_NAME.fullmatch, _names(staging, source)):
        place = f"{target}/{name[:2]}/{name[2:]}"
        try:
            _move(staging, f"{source}/{name}", store, place, replace=replace)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.dirname(place), 0o700, dir_fd=store)
            _move(staging, f"{source}/{name}", store, place, replace=replace)


def _move(staging: int, source: str, store: int, target: str, *, replace: bool) -> None:
    if replace:
        os.rename(source, target, src_dir_fd=staging, dst_dir_fd=store)
        return
    # Somebody else may have been quicker: that is as good.
    with contextlib.suppress(FileExistsError):
        os.link(source, target, src_dir_fd=staging, dst_dir_fd=store, follow_symlinks=False)
    os.unlink(source, dir_fd=staging)
