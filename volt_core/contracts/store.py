"""The contract of a content-addressed store: put trees, name them, check them out, keep them sound.

A *tree* is a directory with everything below it; its address is the digest of its top record. A
*ref* is a mutable name for a tree, with a log. What no ref reaches may be removed by :meth:`Store.gc`.

S-17: Every method may be called from several threads and processes at once, and a process may be killed in
the middle of any: what refs reach stays whole, the rest is garbage for gc.

The promises carry numbers; ``docs/store-contract.md`` explains them, :mod:`volt_core.testing` tests them.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

import msgspec

from volt_core.contracts.content import Change, ContentSource, Space
from volt_core.contracts.entries import Entry
from volt_core.contracts.progress import SILENT, Progress


class MtimePolicy(enum.StrEnum):
    """What becomes of modification times when a tree is put."""

    KEEP = "keep"
    CLAMP = "clamp"
    """Every entry gets time 0, the root included, so that a rebuilt tree with equal content is the same tree."""


class CheckoutMode(enum.StrEnum):
    """How a checkout gets its files."""

    AUTO = "auto"
    """Reflink where the file system can, else copy. The result is the caller's own."""
    REFLINK = "reflink"
    """The same, and an error where the file system cannot."""
    COPY = "copy"
    LINK = "link"
    """Hard links into the store: read-only by contract, for whoever writes would change the store."""


class PutResult(msgspec.Struct, frozen=True, kw_only=True):
    """What putting a tree did."""

    digest: str
    files: int
    bytes: int
    """Content bytes of all files, holes included."""
    new_objects: int
    new_bytes: int
    notes: tuple[str, ...] = ()


class CheckoutResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkout did."""

    files: int
    bytes: int
    linked: int = 0
    reflinked: int = 0
    notes: tuple[str, ...] = ()


class Ref(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A mutable name of a tree."""

    name: str
    digest: str
    kind: str = "tree"
    updated: int = 0
    """Nanoseconds since the epoch."""
    meta: Mapping[str, str] = {}
    """Small texts that belong to the name rather than to the tree, for example an image's configuration."""


class RefChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a ref's log: the whole value that it got, so that it can be set again.

    `digest` is None when the ref was deleted.
    """

    time: int
    digest: str | None
    previous: str | None = None
    kind: str = "tree"
    meta: Mapping[str, str] = {}


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What verification found."""

    objects: int
    bytes: int
    trees: int
    damaged: tuple[str, ...] = ()
    """One line each: what is wrong, and which refs use it; with repair, what still is."""
    repaired: tuple[str, ...] = ()
    """One line each: what was wrong and is not any more, and what helped."""


class GcReport(msgspec.Struct, frozen=True, kw_only=True):
    """What gc removed, or would remove."""

    dry_run: bool
    objects: int
    trees: int
    variants: int
    bytes: int
    kept_young: int = 0
    """Unreferenced, but younger than the grace time."""
    removed: tuple[str, ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the store holds; sizes in bytes."""

    objects: int
    object_bytes: int
    variants: int
    variant_bytes: int
    trees: int
    tree_bytes: int
    refs: int
    referenced_bytes: int
    """Sum over all refs of the content bytes of their trees: what it would be without sharing."""
    links: int
    free_bytes: int


class Store(abc.ABC):
    """A content-addressed store. The implementation's constructor takes the directory it lives in."""

    NAME: ClassVar[str]
    path: Path
    """The directory it lives in."""

    @abc.abstractmethod
    def __init__(self, path: Path) -> None:
        """S-1: Open the store at `path`; nothing is written before the first put or ref."""

    @abc.abstractmethod
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
        """S-2: Store the tree at `source`, then point `ref` (its digest is ignored) at it.

        With `adopt` the store may keep the files of `source` themselves instead of copies: nobody may write to
        them from then on. With `rehash` every file is read, also one that looks unchanged since the last time.
        Raises :class:`StoreError` if a file changes while it is read; the store stays as it was.
        """

    @abc.abstractmethod
    def put_tar(
        self,
        stream: BinaryIO,
        *,
        ref: Ref | None = None,
        mtime: MtimePolicy = MtimePolicy.KEEP,
        progress: Progress = SILENT,
    ) -> PutResult:
        """S-3: Store the tree that the uncompressed tar `stream` describes, reading it once, front to back.

        The stream is taken as hostile. Raises :class:`ArchiveInvalid`; no ref moves then.
        """

    @abc.abstractmethod
    def export_tar(self, digest: str, stream: BinaryIO, *, progress: Progress = SILENT) -> None:
        """S-4: Write the tree as a POSIX (pax) tar; equal trees give equal bytes."""

    @abc.abstractmethod
    def checkout(
        self,
        digest: str,
        destination: Path,
        *,
        mode: CheckoutMode = CheckoutMode.AUTO,
        progress: Progress = SILENT,
    ) -> CheckoutResult:
        """S-5: Make the tree at `destination`, which must not exist or be an empty directory.

        Raises :class:`ObjectMissing`, :class:`AlreadyExists`, :class:`StoreFull`. On failure what
        was made is removed again.
        """

    @abc.abstractmethod
    def linked_tree(self, digest: str) -> Path:
        """S-6: Return the store's own linked checkout of the tree, made on first use, shared by all, never written."""

    @abc.abstractmethod
    def entries(self, digest: str, path: bytes = b"", *, recursive: bool = True) -> Iterator[Entry]:
        """S-7: Yield the entry at `path` and, if it is a directory, what is below it.

        Parents come first, names in byte order; symlinks are never followed. Raises :class:`NotFoundError`
        if the tree has no such path.
        """

    @abc.abstractmethod
    def read_file(self, digest: str, path: bytes) -> bytes:
        """S-8: Return the content of one file, following symlinks inside the tree. Raises :class:`NotFoundError`."""

    @abc.abstractmethod
    def set_ref(self, ref: Ref) -> None:
        """S-9: Point the name at a tree that the store holds; logged if that changes it, durable when this returns.

        A damaged ref is replaced. Raises :class:`ObjectMissing` for any other digest, :class:`InvalidName`.
        """

    @abc.abstractmethod
    def find_ref(self, name: str) -> Ref | None:
        """S-10: Return the ref, or None. Raises :class:`StateError` for one that is damaged."""

    @abc.abstractmethod
    def refs(self, prefix: str = "") -> Iterator[Ref]:
        """S-11: Yield the refs whose name starts with `prefix`, sorted by name; damaged ones are for verify to name."""

    @abc.abstractmethod
    def delete_ref(self, name: str) -> None:
        """S-12: Drop the name, damaged or not; the log keeps its last value. Raises :class:`RefNotFound`."""

    @abc.abstractmethod
    def ref_log(self, name: str) -> Sequence[RefChange]:
        """S-13: Return the values that the ref has had, oldest first; also of a deleted ref."""

    @abc.abstractmethod
    def verify(
        self, *, repair: bool = False, sources: Sequence[ContentSource] = (), progress: Progress = SILENT
    ) -> VerifyReport:
        """S-14: Read everything and compare it with its digest.

        With `repair` what is damaged or missing is replaced by a good copy from the store itself or from `sources`,
        asked in their order.
        """

    @abc.abstractmethod
    def gc(self, *, dry_run: bool = False, grace: float = 3600.0, keep_last: int = 0) -> GcReport:
        """S-15: Remove what no ref reaches and what is older than `grace` seconds; nothing while a ref is damaged.

        What the newest `keep_last` former values of a ref reach is kept as well.
        """

    @abc.abstractmethod
    def usage(self) -> Usage:
        """S-16: Count what is stored."""

    @abc.abstractmethod
    def diff(self, before: str, after: str) -> Iterator[Change]:
        """S-21: Yield what differs between two trees, in the order of paths that :meth:`entries` has."""

    @abc.abstractmethod
    def open_file(self, digest: str, path: bytes) -> BinaryIO:
        """S-22: Return an open stream of what :meth:`read_file` returns; the caller closes it."""

    @abc.abstractmethod
    def space(self) -> Space:
        """S-23: Measure the room that the store takes, and what each ref adds to it."""
