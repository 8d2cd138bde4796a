"""What belongs into a bundle: one walk, made by the writer to find it and by the reader to check it.

The walk goes through the trees in the order of their refs: top record, links record, then the directories, parents
first and names in byte order. Everything is listed where it is met first, so the order depends on the trees alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from volt_cas import record
from volt_cas.browse import check_tree
from volt_cas.layout import Layout, digest_bytes, digest_text
from volt_cas.objects import read_encoded, read_tree
from volt_cas.record import DirectoryEntry, DirectoryRecord, FileEntry, LinksRecord, TreeRecord
from volt_core.contracts import BundleItem, BundleManifest
from volt_core.errors import ObjectCorrupt

Load = Callable[[bytes], bytes]


class Contents:
    """The records and contents of some trees, in the order of the walk.

    Attributes:
        records: each with its size in bytes.
        objects: each with its size in bytes, and the metadata of the first entry that has it, encoded: there may be
            millions, and as structs they take three times the room.
        outer_records, outer_objects: where the walk met what is elsewhere: in a base.
    """

    def __init__(self) -> None:
        self.records: dict[bytes, int] = {}
        self.objects: dict[bytes, tuple[int, bytes]] = {}
        self.tops: set[bytes] = set()
        self.outer_records: set[bytes] = set()
        self.outer_objects: dict[bytes, int] = {}

    def record_items(self) -> Iterator[BundleItem]:
        """Yield the records as a manifest lists them."""
        return (BundleItem(digest_text(digest), size) for digest, size in self.records.items())

    def object_items(self) -> Iterator[BundleItem]:
        """Yield the contents as a manifest lists them."""
        return (BundleItem(digest_text(digest), size) for digest, (size, _) in self.objects.items())


def find_contents(
    tops: Iterable[bytes],
    load: Load,
    *,
    is_outer_record: Callable[[bytes], bool],
    is_outer_object: Callable[[bytes], bool],
) -> Contents:
    """Walk the trees with these top records; `load` gives the bytes of a record that is not elsewhere.

    Raises :class:`ObjectCorrupt`, and whatever `load` does.
    """
    found = Contents()

    def enter(digest: bytes) -> record.Record | None:
        if digest in found.records or digest in found.outer_records:
            return None
        if is_outer_record(digest):
            found.outer_records.add(digest)
            return None
        data = load(digest)
        found.records[digest] = len(data)
        return record.decode(data, digest)

    for top in tops:
        tree = enter(top)
        if tree is None:
            continue
        if not isinstance(tree, TreeRecord):
            raise _wrong(top, "the top of a tree")
        found.tops.add(top)
        if tree.links is not None and not isinstance(enter(tree.links), LinksRecord | None):
            raise _wrong(tree.links, "a list of hard links")
        pending = [tree.digest]
        while pending:
            digest = pending.pop()
            directory = enter(digest)
            if directory is None:
                continue
            if not isinstance(directory, DirectoryRecord):
                raise _wrong(digest, "a directory")
            below = []
            for entry in directory.entries:
                if isinstance(entry, DirectoryEntry):
                    below.append(entry.digest)
                elif isinstance(entry, FileEntry) and entry.size:
                    _add_object(found, entry, is_outer_object)
            pending += reversed(below)
    return found


def _add_object(found: Contents, entry: FileEntry, is_outer_object: Callable[[bytes], bool]) -> None:
    if entry.digest in found.objects:
        size = found.objects[entry.digest][0]
    elif is_outer_object(entry.digest):
        size = found.outer_objects.setdefault(entry.digest, entry.size)
    else:
        found.objects[entry.digest] = entry.size, record.encode_metadata(entry.metadata)
        return
    if size != entry.size:
        raise ObjectCorrupt(
            f"Content {digest_text(entry.digest)} is said to have {size} and {entry.size} bytes",
            hint="Put the tree again.",
        )


def find_stored(layout: Layout, tops: Iterable[bytes]) -> Contents:
    """Walk trees of the store, whole. Raises :class:`ObjectMissing` and :class:`ObjectCorrupt`."""
    return find_contents(tops, loader(layout), is_outer_record=_never, is_outer_object=_never)


def loader(layout: Layout) -> Load:
    """Return what gives the bytes of the records of a store."""

    def load(digest: bytes) -> bytes:
        data = read_encoded(layout, digest)
        if record.address(data) != digest:
            raise ObjectCorrupt(
                f"Tree record {digest_text(digest)} is damaged: its content does not match its digest",
                hint="Run 'volt cas verify' to see what is affected, then put the tree again.",
            )
        return data

    return load


class BundleLayout(Layout):
    """A store as it would be with the records of a bundle: for reading alone."""

    def __init__(self, layout: Layout, records: dict[bytes, bytes]) -> None:
        super().__init__(layout.path)
        self._records = records

    def read_tree_file(self, digest: bytes) -> bytes:
        """Return the bytes of a record, of the bundle or of the store."""
        data = self._records.get(digest)
        return super().read_tree_file(digest) if data is None else data

    def has_tree(self, digest: bytes) -> bool:
        """Tell whether either has the record."""
        return digest in self._records or super().has_tree(digest)


def find_bundled(manifest: BundleManifest, records: dict[bytes, bytes]) -> Contents:
    """Walk the trees of a bundle with all its records. What they name and the bundle lacks is outer.

    The walk meets contents in the order of the list, so what it meets is either the next one or not in the bundle.
    """
    listed = (digest_bytes(item.digest) for item in manifest.objects)
    awaited = next(listed, None)

    def is_outer_object(digest: bytes) -> bool:
        nonlocal awaited
        if digest != awaited:
            return True
        awaited = next(listed, None)
        return False

    return find_contents(
        (digest_bytes(ref.digest) for ref in manifest.refs),
        records.__getitem__,
        is_outer_record=lambda digest: digest not in records,
        is_outer_object=is_outer_object,
    )


def check_trees(layout: Layout, manifest: BundleManifest, records: dict[bytes, bytes]) -> None:
    """Check what spans records: that refs name top records, depth, and hard links. All records are there."""
    whole = BundleLayout(layout, records)
    for digest in {ref.digest for ref in manifest.refs}:
        check_tree(whole, read_tree(whole, digest_bytes(digest)))


def _never(_: bytes) -> bool:
    return False


def _wrong(digest: bytes, what: str) -> ObjectCorrupt:
    return ObjectCorrupt(f"Tree record {digest_text(digest)} is not that of {what}")
