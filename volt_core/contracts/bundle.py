"""A facet of stores: trees that travel as one file, a *bundle*.

It is no part of :class:`~volt_core.contracts.store.Store`, because a bundle carries the records that the digests of
trees are digests of. A store that keeps other records, or none, could write the files of a tree, but nobody could
import them under the tree's digest. So what a bundle looks like is the store's own, and the promise is that whatever
one store of a class has written, every store of that class reads. The core finds the facet by ``isinstance``.

The promises are numbered with those of the store, in ``docs/store-contract.md``.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import msgspec

from volt_core.contracts.entries import Entry
from volt_core.contracts.progress import SILENT, Progress
from volt_core.contracts.store import Ref


class Compression(enum.StrEnum):
    """How much time a bundle may cost to become smaller."""

    NONE = "none"
    """As fast as the disk, and the same bytes on every machine."""
    AUTO = "auto"
    """Quickly, and only what shrinks."""
    MAX = "max"
    """As small as it gets."""


class BundleItem(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record or a file content that a bundle holds."""

    digest: str
    size: int
    """Bytes, uncompressed."""


class BundleBase(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A tree that the reader of a bundle must have, because the bundle holds only what it lacks."""

    digest: str
    name: str = ""
    """What its writer called it: a ref, or nothing."""


class BundleManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says that it holds. It stands at the beginning, so that reading may stop behind it."""

    format: int
    hash: str = "sha256"
    bases: tuple[BundleBase, ...] = ()
    refs: tuple[Ref, ...] = ()
    """Sorted by name; each with its tree, which is whole in the bundle and its bases together."""
    records: tuple[BundleItem, ...] = ()
    objects: tuple[BundleItem, ...] = ()

    @property
    def bytes(self) -> int:
        """All content and records, uncompressed."""
        return sum(item.size for items in (self.records, self.objects) for item in items)


class BundleWritten(msgspec.Struct, frozen=True, kw_only=True):
    """What writing a bundle did."""

    manifest: BundleManifest
    bytes: int
    """Of the whole file."""


class BundleRead(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle was found to hold, and, if it was imported, what it changed."""

    manifest: BundleManifest
    bytes: int
    """Of the whole file."""
    new_objects: int = 0
    new_bytes: int = 0
    new_records: int = 0
    moved: tuple[Ref, ...] = ()
    """The former values of the refs that pointed at another tree, so that they can be set again."""
    notes: tuple[str, ...] = ()


def accept_any(ref: Ref) -> None:
    """Accept every ref of a bundle."""


class Bundles(abc.ABC):
    """See the module. Streams are read and written once, front to back: all may be pipes."""

    @abc.abstractmethod
    def write_bundle(
        self,
        stream: BinaryIO,
        refs: Sequence[str],
        *,
        bases: Sequence[BundleBase | BundleManifest] = (),
        compression: Compression = Compression.NONE,
        progress: Progress = SILENT,
    ) -> BundleWritten:
        """S-18: Write the trees of these refs, less what the bases hold; the same refs give the same bytes.

        A base is a tree of this store, or what an earlier bundle held. Raises :class:`RefNotFound`,
        :class:`ObjectMissing`, and :class:`ObjectCorrupt` rather than write what is damaged.
        """

    @abc.abstractmethod
    def read_bundle(
        self,
        stream: BinaryIO,
        *,
        accept: Callable[[Ref], None] = accept_any,
        progress: Progress = SILENT,
    ) -> BundleRead:
        """S-19: Store what the bundle holds, then point its refs at their trees, all after everything is checked.

        `accept` is asked about each ref before anything is stored, and raises to refuse the bundle. The stream is
        taken as hostile: :class:`ArchiveInvalid`, and :class:`ObjectMissing` where a base is not here; the store is
        as it was then.
        """

    @abc.abstractmethod
    def inspect_bundle(self, stream: BinaryIO) -> BundleManifest:
        """S-20: Return what the bundle says about itself, reading no further than that; nothing is written."""

    @abc.abstractmethod
    def verify_bundle(self, stream: BinaryIO, *, progress: Progress = SILENT) -> BundleRead:
        """S-20: Check all that an import would, and write nothing.

        Of a base that is not here, a note says so. Raises :class:`ArchiveInvalid`.
        """

    @abc.abstractmethod
    def bundle_entries(self, stream: BinaryIO) -> Iterator[tuple[Ref, Iterator[Entry]]]:
        """S-20: Yield each ref with the entries of its tree, as :meth:`Store.entries` would; nothing is written.

        Contents are not read. Raises :class:`ArchiveInvalid`, and :class:`ObjectMissing` where a base is not here.
        """
