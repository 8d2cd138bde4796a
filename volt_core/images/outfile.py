"""Writes a file that appears under its name only when it is complete, and never takes another's place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from volt_core.errors import AlreadyExists, NotFoundError
from volt_core.names import shown


@contextlib.contextmanager
def open_new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a stream whose content is durably at `path` when the block ends well, and nowhere if it does not.

    Raises :class:`AlreadyExists` if anything has that name before or afterwards, and
    :class:`NotFoundError` if its directory does not exist.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"Cannot export to {shown(str(path))}: there is no directory {shown(str(path.parent))}",
            hint="Make it, or check the path.",
        ) from error
    try:
        if os.path.lexists(path):
            raise _taken(path)
        partial = f".volt-{os.urandom(8).hex()}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(partial, "wb", opener=lambda name, _: os.open(name, flags, 0o666, dir_fd=folder)) as stream:
            try:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                _publish(folder, partial, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(partial, dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def _publish(folder: int, partial: str, path: Path) -> None:
    """Give the finished file its name; a hard link, unlike a rename, replaces nothing."""
    try:
        os.link(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError as error:
        raise _taken(path) from error
    except PermissionError as error:  # FAT has no hard links
        if os.path.lexists(path):
            raise _taken(path) from error
        os.rename(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)


def _taken(path: Path) -> AlreadyExists:
    return AlreadyExists(f"Cannot export to {shown(str(path))}: it exists", hint="Choose another name, or remove it.")
