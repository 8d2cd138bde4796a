"""Bundles of the memory store: one message behind its digest, refused as a whole where it is not exactly that."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from volt_core.contracts import (
    SILENT,
    BundleBase,
    BundleItem,
    BundleManifest,
    BundleRead,
    Bundles,
    BundleWritten,
    Compression,
    Entry,
    EntryType,
    Progress,
    Ref,
)
from volt_core.contracts.bundle import accept_any
from volt_core.errors import ArchiveInvalid, InvalidName, ObjectCorrupt, ObjectMissing, RefNotFound
from volt_core.names import DIGEST_PREFIX, USE_PREFIX, check_ref, shown

if TYPE_CHECKING:
    from volt_core.testing.memory_store import MemoryStore

_FORMAT = 1
_DIGEST_SIZE = 32
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class _Bundle(msgspec.Struct, frozen=True):
    manifest: BundleManifest
    trees: tuple[bytes, ...]
    objects: tuple[bytes, ...]


class MemoryBundles(Bundles):
    """A part of :class:`~volt_core.testing.memory_store.MemoryStore`."""

    @property
    def _store(self) -> MemoryStore:
        return cast("MemoryStore", self)

    def write_bundle(
        self,
        stream: BinaryIO,
        refs: Sequence[str],
        *,
        bases: Sequence[BundleBase | BundleManifest] = (),
        compression: Compression = Compression.NONE,
        progress: Progress = SILENT,
    ) -> BundleWritten:
        """Write a message; compression is for others."""
        known: dict[str, str] = {}
        have: set[str] = set()
        for base in bases:
            if isinstance(base, BundleBase):
                known.setdefault(base.digest, base.name)
                have |= {base.digest, *_contents_of(self._store._tree(base.digest))}
            else:
                known |= {ref.digest: ref.name for ref in base.refs}
                have |= {item.digest for items in (base.records, base.objects) for item in items}
        found = [self._ref_for_bundle(name) for name in sorted(set(refs))]
        trees = {ref.digest: self._store._content.trees[ref.digest] for ref in found if ref.digest not in have}
        wanted = (digest for tree in trees for digest in _contents_of(self._store._tree(tree)) if digest not in have)
        objects = {digest: self._store._object(digest) for digest in wanted}
        bundle = _make(found, known, trees.values(), objects.values())
        if [item.digest for item in bundle.manifest.objects] != list(objects):
            raise ObjectCorrupt("Cannot write the bundle: an object does not match its digest")
        data = _encode(bundle)
        stream.write(hashlib.sha256(data).digest() + data)
        return BundleWritten(manifest=bundle.manifest, bytes=_DIGEST_SIZE + len(data))

    def read_bundle(
        self,
        stream: BinaryIO,
        *,
        accept: Callable[[Ref], None] = accept_any,
        progress: Progress = SILENT,
    ) -> BundleRead:
        """Take all of it at once."""
        bundle, size = _read(stream)
        for ref in bundle.manifest.refs:
            accept(ref)
        with self._store._content.lock:
            trees, objects = _joined(bundle, self._store._content.trees, self._store._content.objects)
            _check_bases(bundle, self._store._content.trees)
            _check_whole(bundle, trees, objects)
            new = {digest: objects[digest] for digest in objects.keys() - self._store._content.objects.keys()}
            records = trees.keys() - self._store._content.trees.keys()
            self._store._content.trees |= trees
            self._store._content.objects |= objects
            self._store._content.born |= dict.fromkeys((*new, *records), time.time())
            moved = []
            for ref in bundle.manifest.refs:
                before = self._store.find_ref(ref.name)
                if before is not None and before.digest != ref.digest:
                    moved.append(before)
                self._store.set_ref(ref)
        return BundleRead(
            manifest=bundle.manifest,
            bytes=size,
            new_objects=len(new),
            new_bytes=sum(map(len, new.values())),
            new_records=len(records),
            moved=tuple(moved),
        )

    def inspect_bundle(self, stream: BinaryIO) -> BundleManifest:
        """Read it whole: there is no beginning of a message."""
        return _read(stream)[0].manifest

    def verify_bundle(self, stream: BinaryIO, *, progress: Progress = SILENT) -> BundleRead:
        """Do all but take it."""
        bundle, size = _read(stream)
        notes: tuple[str, ...] = ("not checked is what it builds on",)
        if all(base.digest in self._store._content.trees for base in bundle.manifest.bases):
            _check_whole(bundle, *_joined(bundle, self._store._content.trees, self._store._content.objects))
            notes = ()
        return BundleRead(manifest=bundle.manifest, bytes=size, notes=notes)

    def bundle_entries(self, stream: BinaryIO) -> Iterator[tuple[Ref, Iterator[Entry]]]:
        """Decode its records."""
        bundle, _ = _read(stream)
        _check_bases(bundle, self._store._content.trees)
        trees, _ = _joined(bundle, self._store._content.trees, {})
        for ref in bundle.manifest.refs:
            yield ref, iter(msgspec.msgpack.decode(trees[ref.digest], type=list[Entry]))

    def _ref_for_bundle(self, name: str) -> Ref:
        if name.startswith(USE_PREFIX):
            raise InvalidName(f"Ref {shown(name)} is in the place of what workloads use")
        ref = self._store.find_ref(name)
        if ref is None:
            raise RefNotFound(f"The store has no ref {shown(name)}")
        return msgspec.structs.replace(ref, updated=0)


def _contents_of(tree: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(entry.digest for entry in tree if entry.type is EntryType.FILE))


def _make(refs: Sequence[Ref], bases: dict[str, str], trees: Any, objects: Any) -> _Bundle:
    manifest = BundleManifest(
        format=_FORMAT,
        bases=tuple(BundleBase(digest, name) for digest, name in sorted(bases.items())),
        refs=tuple(refs),
        records=tuple(map(_item, trees)),
        objects=tuple(map(_item, objects)),
    )
    return _Bundle(manifest, tuple(trees), tuple(objects))


def _item(data: bytes) -> BundleItem:
    return BundleItem(DIGEST_PREFIX + hashlib.sha256(data).hexdigest(), len(data))


def _read(stream: BinaryIO) -> tuple[_Bundle, int]:
    """Return a bundle and the bytes it took. Raises :class:`ArchiveInvalid`."""
    pieces = []
    while piece := stream.read(65536):
        pieces.append(piece)
    data = b"".join(pieces)
    try:
        if hashlib.sha256(data[_DIGEST_SIZE:]).digest() != data[:_DIGEST_SIZE]:
            raise ValueError("it does not match its digest")
        bundle = msgspec.msgpack.decode(data[_DIGEST_SIZE:], type=_Bundle)
        manifest = bundle.manifest
        if bundle != _make(manifest.refs, dict(map(_pair, manifest.bases)), bundle.trees, bundle.objects):
            raise ValueError("its list of contents is another's")
        if any(check_ref(ref.name).startswith(USE_PREFIX) for ref in manifest.refs):
            raise ValueError("it has a ref in the place of what workloads use")
    except (ValueError, InvalidName) as error:
        raise ArchiveInvalid(f"Invalid bundle: {error}", hint="Nothing of it was kept.") from error
    return bundle, len(data)


def _pair(base: BundleBase) -> tuple[str, str]:
    return base.digest, base.name


def _joined(
    bundle: _Bundle, trees: dict[str, bytes], objects: dict[str, bytes]
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return what a store would hold with the bundle."""
    manifest = bundle.manifest
    return (
        trees | {item.digest: data for item, data in zip(manifest.records, bundle.trees, strict=True)},
        objects | {item.digest: data for item, data in zip(manifest.objects, bundle.objects, strict=True)},
    )


def _check_bases(bundle: _Bundle, trees: dict[str, bytes]) -> None:
    for base in bundle.manifest.bases:
        if base.digest not in trees:
            raise ObjectMissing(f"The bundle builds on '{base.name}', {base.digest}, which the store does not have")


def _check_whole(bundle: _Bundle, trees: dict[str, bytes], objects: dict[str, bytes]) -> None:
    for ref in bundle.manifest.refs:
        if ref.digest not in trees:
            raise ArchiveInvalid(f"Invalid bundle: it lacks the tree of '{ref.name}'")
        for digest in _contents_of(msgspec.msgpack.decode(trees[ref.digest], type=list[Entry])):
            if digest not in objects:
                raise ArchiveInvalid(f"Invalid bundle: it lacks {digest} of '{ref.name}'")
