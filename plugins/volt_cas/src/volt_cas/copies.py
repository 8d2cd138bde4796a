"""Where a repair finds good copies: another store, a bundle, or any directory, a former checkout for example."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from volt_cas.layout import Layout, digest_bytes, digest_text
from volt_core import native
from volt_core.contracts import ContentSource
from volt_core.errors import NotFoundError

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PLACES = (".", "cas", "lib/cas")


@contextlib.contextmanager
def open_copies(path: Path) -> Iterator[ContentSource]:
    """Give what is at `path`: a store, an instance that has one, a directory of files, or a bundle.

    What it gives is checked by whoever takes it, one by one, so a bundle may be damaged elsewhere, and build on a tree
    that nobody has. Raises :class:`NotFoundError`, and :class:`BundleInvalid` for a file that is no bundle.
    """
    if path.is_file():
        from volt_cas.bundle.source import BundleSource

        with BundleSource(path) as bundle:
            yield bundle
    else:
        yield copies_at(path)


def copies_at(path: Path) -> ContentSource:
    """Return what is at the directory `path`: a store, an instance that has one, or files.

    Raises :class:`NotFoundError`.
    """
    if not path.is_dir():
        raise NotFoundError(
            f"Cannot repair from '{path}': it is not there, or neither a bundle nor a directory",
            hint="Give a directory that holds good copies of the files, another store, or a bundle.",
        )
    for place in _PLACES:
        layout = Layout(path / place)
        if layout.exists():
            return StoreSource(layout)
    return DirectorySource(path)


class StoreSource:
    """The objects and records of another store."""

    def __init__(self, layout: Layout) -> None:
        self.name = f"store '{layout.path}'"
        self._layout = layout

    def find_object(self, digest: str, size: int) -> BinaryIO | None:
        """Return the object if it is there and has the size."""
        return _open(self._layout.object_path(digest_bytes(digest)), size)

    def find_record(self, digest: str) -> bytes | None:
        """Return the record if it is there."""
        try:
            return self._layout.tree_path(digest_bytes(digest)).read_bytes()
        except OSError:
            return None


class DirectorySource:
    """The files below a directory; those of a wanted size are hashed, once."""

    def __init__(self, path: Path) -> None:
        self.name = f"directory '{path}'"
        self._path = path
        self._sizes: dict[int, list[bytes]] | None = None
        self._found: dict[str, bytes] = {}

    def find_object(self, digest: str, size: int) -> BinaryIO | None:
        """Return a file that has this content."""
        for path in self._of_size(size):
            stream = _open(path, size)
            if stream:
                with stream, contextlib.suppress(OSError):
                    found, _ = native.hash_file(stream.fileno())
                    self._found[digest_text(found)] = path
        good = self._found.get(digest)
        return _open(good, size) if good else None

    def find_record(self, digest: str) -> bytes | None:
        """Return None: a directory has no records."""
        return None

    def _of_size(self, size: int) -> list[bytes]:
        """Return the files of this size that were not hashed yet."""
        if self._sizes is None:
            self._sizes = {}
            # What cannot be read cannot help.
            for folder, _, names in os.walk(os.fsencode(self._path)):
                for path in (os.path.join(folder, name) for name in names):
                    with contextlib.suppress(OSError):
                        info = os.lstat(path)
                        if stat.S_ISREG(info.st_mode):
                            self._sizes.setdefault(info.st_size, []).append(path)
        return self._sizes.pop(size, [])


def _open(path: Path | bytes, size: int) -> BinaryIO | None:
    try:
        descriptor = os.open(path, _FILE)
    except OSError:
        return None
    info = os.fstat(descriptor)
    if info.st_size != size or not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        return None
    return open(descriptor, "rb")
