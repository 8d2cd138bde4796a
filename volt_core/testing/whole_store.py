"""What stores of whole trees have in common: the parts of the contract that only need the entries of a tree."""

from __future__ import annotations

import abc
import contextlib
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from volt_core import fs
from volt_core.contracts import (
    SILENT,
    Change,
    ContentSource,
    Entry,
    EntryType,
    MtimePolicy,
    Progress,
    PutResult,
    Ref,
    Store,
)
from volt_core.errors import AlreadyExists, ArchiveInvalid, NotFoundError
from volt_core.testing import memory_tar, memory_tree
from volt_core.testing.tree_diff import compare
from volt_core.testing.whole_trees import digest_of


class WholeStore(Store):
    """See the module."""

    def put_directory(
        self,
        source: Path,
        *,
        ref: Ref | None = None,
        exclude: Sequence[str] = (),
        one_file_system: bool = False,
        mtime: MtimePolicy = MtimePolicy.KEEP,
        adopt: bool = False,
        rehash: bool = False,
        progress: Progress = SILENT,
    ) -> PutResult:
        notes: list[str] = []
        return self._put(memory_tree.scan(source, exclude, one_file_system, notes), ref, mtime, progress, notes)

    def put_tar(
        self,
        stream: BinaryIO,
        *,
        ref: Ref | None = None,
        mtime: MtimePolicy = MtimePolicy.KEEP,
        progress: Progress = SILENT,
    ) -> PutResult:
        try:
            members = memory_tar.read(stream)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise ArchiveInvalid(f"Cannot read the archive: {error}") from error
        return self._put(members, ref, mtime, progress, [])

    def entries(self, digest: str, path: bytes = b"", *, recursive: bool = True) -> Iterator[Entry]:
        tree = self._tree(digest)
        top = next((entry for entry in tree if entry.path == path), None)
        if top is None:
            raise NotFoundError(f"The tree has no '{os.fsdecode(path)}'")
        yield top
        prefix = path + b"/" if path else b""
        for entry in tree:
            if entry.path.startswith(prefix) and entry.path != path:
                if recursive or b"/" not in entry.path[len(prefix) :]:
                    yield entry

    def diff(self, before: str, after: str) -> Iterator[Change]:
        yield from compare(self._tree(before), self._tree(after))

    def _file(self, digest: str, path: bytes) -> Entry:
        """Return the entry of the file that a path leads to, through links."""
        tree = {entry.path: entry for entry in self._tree(digest)}
        entry = tree.get(memory_tree.resolve(tree, path))
        if entry is None or entry.type is not EntryType.FILE:
            raise NotFoundError(f"The tree has no file '{os.fsdecode(path)}'")
        return entry

    @abc.abstractmethod
    def _tree(self, digest: str) -> Sequence[Entry]:
        """Return the entries of a tree, or raise :class:`ObjectMissing`."""

    @abc.abstractmethod
    def _put(
        self,
        found: Iterable[tuple[Entry, bytes]],
        ref: Ref | None,
        mtime: MtimePolicy,
        progress: Progress,
        notes: Sequence[str],
    ) -> PutResult:
        """Keep a tree."""


@contextlib.contextmanager
def empty_directory(destination: Path) -> Iterator[None]:
    """Make a directory to check out to; when that fails, it is as before."""
    existed = destination.is_dir() and not destination.is_symlink()
    if os.path.lexists(destination) and not (existed and not any(destination.iterdir())):
        raise AlreadyExists(f"Cannot check out to '{destination}': it is not an empty directory")
    try:
        destination.mkdir(exist_ok=True)
        yield
    except BaseException:
        fs.remove_tree(destination)
        if existed:
            destination.mkdir()
        raise


def find_copy(sources: Iterable[ContentSource], digest: str, size: int) -> tuple[bytes, str] | None:
    """Return the content of this digest and the name of the first source that has it unharmed, or None."""
    for source in sources:
        stream = source.find_object(digest, size)
        data = stream.read(size + 1) if stream else b""
        if digest_of(data) == digest:
            return data, source.name
    return None
