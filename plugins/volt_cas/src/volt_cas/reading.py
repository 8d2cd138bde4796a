"""Reading all that a store has, to see whether it is what its names say: by the extension, or by Python alone."""

from __future__ import annotations

import abc
import contextlib
import os
from collections.abc import Mapping, Sequence

from volt_cas import below, links, record
from volt_cas.layout import Layout, addressed, fan_out
from volt_core import native
from volt_core.contracts import Progress
from volt_core.errors import ObjectCorrupt, StoreError
from volt_core.native.verify import Difference, Verification

_BATCH = 512
_MISMATCH = "its content does not match its digest"
_DIFFERENCES = {
    Difference.OTHER: links.OTHER,
    Difference.MISSING: links.MISSING,
    Difference.EXTRA: links.EXTRA,
}


class Reading(abc.ABC):
    """What was found.

    Attributes:
        objects, trees: how many objects and records there are.
        byte_count: of objects and variants.
        bad, bad_trees: why an object or a record is damaged.
        bad_variants: the same by path below ``variants/``.
        is_whole: it is known that all that records name is there, of the right size and kind, and nothing too deep.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.objects = 0
        self.trees = 0
        self.byte_count = 0
        self.bad: dict[bytes, str] = {}
        self.bad_trees: dict[bytes, str] = {}
        self.bad_variants: dict[str, str] = {}
        self.is_whole = False

    @abc.abstractmethod
    def sizes(self) -> dict[bytes, int]:
        """Return the size of each object."""

    @abc.abstractmethod
    def inodes(self) -> dict[int, bytes]:
        """Return the digest of the content of each inode of objects and variants."""

    @abc.abstractmethod
    def find_differences(self, linked: Sequence[bytes]) -> dict[bytes, str]:
        """Return in what the linked checkouts of these trees differ from them.

        What is wrong with a record is told elsewhere: it is no difference.
        """

    def _look_at_record(self, digest: bytes) -> None:
        try:
            data = self._layout.read_tree_file(digest)
        except OSError as error:
            self.bad_trees[digest] = f"cannot be read: {error.strerror}"
            return
        if record.address(data) != digest:
            self.bad_trees[digest] = _MISMATCH
            return
        try:
            record.decode(data, digest)
        except ObjectCorrupt as error:
            self.bad_trees[digest] = error.brief


class NativeReading(Reading):
    """By the extension, on all cores."""

    def __init__(self, layout: Layout, progress: Progress, extension: native.CImplementation) -> None:
        super().__init__(layout)
        self._progress = progress
        with below.opened(layout.path) as store:
            self._found = Verification(extension, store, lambda total: _begin(progress, total), progress.advance)
        self.objects, self.trees = self._found.objects, self._found.records
        self.byte_count, self.is_whole = self._found.byte_count, self._found.is_whole
        for path, error in self._found.damaged:
            folder, _, name = path.partition("/")
            why = f"cannot be read: {error.strerror}" if error else _MISMATCH
            if folder == "variants":
                self.bad_variants[name] = why
            elif folder == "objects":
                self.bad[bytes.fromhex(name.replace("/", ""))] = why
            else:
                self._look_at_record(bytes.fromhex(name.replace("/", "")))

    def sizes(self) -> dict[bytes, int]:
        return dict(self._found.sizes())

    def inodes(self) -> dict[int, bytes]:
        return dict(self._found.inodes())

    def find_differences(self, linked: Sequence[bytes]) -> dict[bytes, str]:
        if not linked:
            return {}
        with below.opened(self._layout.path) as store, below.opened(self._layout.links) as folder:
            found = self._found.compare(store, folder, linked)
        return {
            digest: _unreadable(what) if isinstance(what, OSError) else links.told(_DIFFERENCES[what], path)
            for digest, (what, path) in sorted(found.items())
        }


class PythonReading(Reading):
    """The twin. It hashes in batches, so that progress is told and an interrupt is seen."""

    def __init__(self, layout: Layout, progress: Progress) -> None:
        super().__init__(layout)
        self._progress = progress
        objects = [
            (fan_out(bytes.fromhex(name)), bytes.fromhex(name), entry.stat(follow_symlinks=False))
            for name, entry in addressed(layout.objects)
        ]
        variants = [
            (f"{name[:2]}/{name[2:]}", bytes.fromhex(name.partition(".")[0]), entry.stat(follow_symlinks=False))
            for name, entry in addressed(layout.variants)
        ]
        self._sizes = {digest: info.st_size for _, digest, info in objects}
        self._inodes = {info.st_ino: digest for _, digest, info in (*objects, *variants)}
        self.objects = len(objects)
        _begin(progress, sum(info.st_size for _, _, info in (*objects, *variants)))
        for _, digest, why in self._hash("objects", objects):
            self.bad[digest] = why
        for path, _, why in self._hash("variants", variants):
            self.bad_variants[path] = why
        for name, _ in addressed(layout.trees):
            self.trees += 1
            self._look_at_record(bytes.fromhex(name))

    def sizes(self) -> dict[bytes, int]:
        return self._sizes

    def inodes(self) -> dict[int, bytes]:
        return self._inodes

    def find_differences(self, linked: Sequence[bytes]) -> dict[bytes, str]:
        return find_differences(self._layout, linked, self._inodes)

    def _hash(self, folder: str, wanted: list[tuple[str, bytes, os.stat_result]]) -> list[tuple[str, bytes, str]]:
        """Return path, digest and reason of each file that is not what its name says."""
        bad: list[tuple[str, bytes, str]] = []
        if not wanted:
            return bad
        with below.opened(self._layout.path / folder) as root:
            for start in range(0, len(wanted), _BATCH):
                batch = wanted[start : start + _BATCH]
                results = native.hash_files(root, [path.encode() for path, _, _ in batch])
                for (path, digest, info), result in zip(batch, results, strict=True):
                    if isinstance(result, OSError):
                        bad.append((path, digest, f"cannot be read: {result.strerror}"))
                    elif result != digest:
                        bad.append((path, digest, _MISMATCH))
                    self.byte_count += info.st_size
                    self._progress.advance(info.st_size, 1)
        return bad


def read_store(layout: Layout, progress: Progress) -> Reading:
    """Read everything. Raises :class:`OSError` if a folder cannot be listed, not for what lies in it."""
    extension = native.find_extension()
    return NativeReading(layout, progress, extension) if extension else PythonReading(layout, progress)


def find_differences(layout: Layout, linked: Sequence[bytes], inodes: Mapping[int, bytes]) -> dict[bytes, str]:
    """See :meth:`Reading.find_differences`; `inodes` has the digest of the content of each inode in the store."""
    found = {}
    for digest in linked:
        with contextlib.suppress(StoreError):
            try:
                why = links.find_difference(layout, digest, inodes)
            except OSError as error:
                why = _unreadable(error)
            if why:
                found[digest] = why
    return found


def _begin(progress: Progress, total: int) -> None:
    progress.begin("Verifying", total)


def _unreadable(error: OSError) -> str:
    return f"it cannot be read: {error.strerror}"
