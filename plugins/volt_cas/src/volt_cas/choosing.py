"""Which files of a store gc removes, and removing them: by the extension, or by Python alone."""

from __future__ import annotations

import abc
import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from volt_cas import below
from volt_cas.layout import Layout, addressed, digest_text, read_regular
from volt_cas.objects import read_record
from volt_cas.record import DirectoryEntry, DirectoryRecord, FileEntry, TreeRecord
from volt_core import native
from volt_core.errors import ObjectCorrupt, ObjectMissing, StoreError
from volt_core.native.sweep import Choice as NativeRows

_UNREACHED = "no ref reaches it"
_UNLINKED = "no checkout links to it"


class Choice(abc.ABC):
    """What is to go.

    Attributes:
        trees, objects, variants: how many.
        byte_count: of all of them.
        young: how many files, and trees with all that they reach, are kept only because of their age.
    """

    trees: int
    objects: int
    variants: int
    byte_count: int
    young: int

    @abc.abstractmethod
    def lines(self) -> Iterator[str]:
        """Yield a line for each file, with the reason; in the order in which they go."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Remove users before what they use, so that an interrupted run leaves no tree with holes."""


class NativeChoice(Choice):
    """By the extension, on all cores."""

    def __init__(
        self,
        layout: Layout,
        roots: Sequence[bytes],
        spared: Sequence[bytes],
        limit: float,
        lost: Mapping[int, int],
        extension: native.CImplementation,
    ) -> None:
        with below.opened(layout.path) as store:
            self._rows = NativeRows(extension, store, roots, spared, limit, lost)
        self.trees, self.objects, self.variants = self._rows.trees, self._rows.objects, self._rows.variants
        self.byte_count, self.young = self._rows.byte_count, self._rows.young

    def lines(self) -> Iterator[str]:
        for digest, size in self._rows.tree_rows():
            yield f"tree sha256:{digest.hex()} ({size} bytes): {_UNREACHED}"
        for name, size in self._rows.variant_rows():
            yield f"variant {name} ({size} bytes): {_UNLINKED}"
        for digest, size in self._rows.object_rows():
            yield f"object sha256:{digest.hex()} ({size} bytes): {_UNREACHED}"

    def remove(self) -> None:
        self._rows.remove()


class PythonChoice(Choice):
    """The twin."""

    def __init__(
        self,
        layout: Layout,
        roots: Mapping[bytes, str],
        spared: Sequence[bytes],
        limit: float,
        lost: Mapping[int, int],
    ) -> None:
        self._layout = layout
        self._limit = limit
        self._reached: set[bytes] = set()
        self._used: set[bytes] = set()
        self._lines: list[str] = []
        self._files: list[str] = []
        self.trees = self.objects = self.variants = self.byte_count = self.young = 0
        self._mark(roots, spared)
        self._choose_trees()
        self._choose_others(lost)

    def _mark(self, roots: Mapping[bytes, str], spared: Sequence[bytes]) -> None:
        for digest, name in roots.items():
            try:
                self._mark_tree(digest)
            except (ObjectMissing, ObjectCorrupt) as error:
                raise StoreError(
                    f"Cannot collect garbage: ref '{name}' reaches a damaged record: {error.brief}",
                    hint="Put that tree again or delete the ref; 'volt cas verify' shows all damage.",
                ) from error
        for digest in spared:
            with contextlib.suppress(ObjectMissing, ObjectCorrupt):
                self._mark_tree(digest)
        # Young ones may be about to get a ref.
        for name, entry in addressed(self._layout.trees):
            digest = bytes.fromhex(name)
            if digest not in self._reached and entry.stat(follow_symlinks=False).st_mtime >= self._limit:
                # Damaged or half swept: nothing to protect.
                with contextlib.suppress(ObjectMissing, ObjectCorrupt):
                    if isinstance(read_record(self._layout, digest), TreeRecord):
                        self._mark_tree(digest)
                        self.young += 1

    def _mark_tree(self, digest: bytes) -> None:
        pending = [digest]
        while pending:
            digest = pending.pop()
            if digest in self._reached:
                continue
            record = read_record(self._layout, digest)
            self._reached.add(digest)
            if isinstance(record, DirectoryRecord):
                for entry in record.entries:
                    if isinstance(entry, FileEntry):
                        self._used.add(entry.digest)
                    elif isinstance(entry, DirectoryEntry):
                        pending.append(entry.digest)
            elif isinstance(record, TreeRecord):
                pending.append(record.digest)
                if record.links is not None:
                    pending.append(record.links)

    def _choose_trees(self) -> None:
        tops: list[tuple[str, os.DirEntry[str]]] = []
        directories: list[tuple[str, os.DirEntry[str]]] = []
        for name, entry in addressed(self._layout.trees):
            if bytes.fromhex(name) not in self._reached:
                (tops if _begins_like_top(entry.path) else directories).append((name, entry))
        for name, entry in (*tops, *directories):
            info = entry.stat(follow_symlinks=False)
            digest = digest_text(bytes.fromhex(name))
            self.trees += self._doom(f"tree {digest}", entry.path, info, info.st_mtime, _UNREACHED)

    def _choose_others(self, lost: Mapping[int, int]) -> None:
        for name, entry in addressed(self._layout.variants):
            info = entry.stat(follow_symlinks=False)
            if info.st_nlink - lost.get(info.st_ino, 0) <= 1:
                self.variants += self._doom(f"variant {name}", entry.path, info, info.st_ctime, _UNLINKED)
        for name, entry in addressed(self._layout.objects):
            digest = bytes.fromhex(name)
            if digest not in self._used:
                info = entry.stat(follow_symlinks=False)
                what = f"object {digest_text(digest)}"
                self.objects += self._doom(what, entry.path, info, info.st_ctime, _UNREACHED)

    def _doom(self, what: str, path: str, info: os.stat_result, born: float, why: str) -> bool:
        if born >= self._limit:
            self.young += 1
            return False
        self.byte_count += info.st_size
        self._lines.append(f"{what} ({info.st_size} bytes): {why}")
        self._files.append(path)
        return True

    def lines(self) -> Iterator[str]:
        return iter(self._lines)

    def remove(self) -> None:
        for path in self._files:
            os.unlink(path)


def choose(
    layout: Layout, roots: Mapping[bytes, str], spared: Sequence[bytes], limit: float, lost: Mapping[int, int]
) -> Choice:
    """Choose all that nothing keeps; nothing is removed. The caller is alone with the store.

    Kept is what the trees `roots` reach (their values name them in messages), what the trees `spared` reach as far as
    they are sound, what top records reach that are not older than `limit` (seconds since the epoch), and whatever
    else is not older. `lost` counts the names that inodes will lose before the files go.

    Raises :class:`StoreError` if what a root reaches is damaged.
    """
    extension = native.find_extension()
    if extension:
        try:
            return NativeChoice(layout, list(roots), spared, limit, lost, extension)
        except OSError as error:
            if error.filename is not None or error.errno == errno.ENOMEM:
                raise
            # What a root reaches is damaged, and the twin says what and whose.
    return PythonChoice(layout, roots, spared, limit, lost)


def _begins_like_top(path: str) -> bool:
    try:
        return read_regular(Path(path))[1:6] == b"\xa4tree"
    except OSError:
        return False
