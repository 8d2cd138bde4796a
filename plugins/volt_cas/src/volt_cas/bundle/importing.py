"""Taking a bundle into a store, or only checking it: the same steps, with and without a writer."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from typing import BinaryIO

from volt_cas import record
from volt_cas.browse import list_entries
from volt_cas.bundle.contents import BundleLayout, Contents, check_trees, find_bundled, find_stored
from volt_cas.bundle.read import BundleReader, Large
from volt_cas.errors import BundleInvalid
from volt_cas.layout import Layout, digest_bytes, digest_text, fan_out
from volt_cas.writer import Writer
from volt_core.contracts import BundleBase, BundleManifest, BundleRead, Entry, Progress, Ref
from volt_core.errors import ObjectCorrupt, ObjectMissing


class BundleImport:
    """One bundle, from its list of contents to its end. The caller keeps gc away where there is a store."""

    def __init__(self, layout: Layout, stream: BinaryIO, progress: Progress) -> None:
        self._layout = layout
        self._progress = progress
        self._reader = BundleReader(stream)
        self._records: dict[bytes, bytes] = {}

    @property
    def manifest(self) -> BundleManifest:
        """What the bundle says that it holds."""
        return self._reader.manifest

    def check_bases(self) -> None:
        """Raise :class:`ObjectMissing` if a tree is not here that the bundle builds on."""
        if base := self._find_lacking_base():
            name = f"'{base.name}', {base.digest}" if base.name else base.digest
            raise ObjectMissing(
                f"The bundle builds on {name}, which the store does not have",
                hint="Import the bundle of that tree first, or ask for one without --base.",
            )

    def stage(self, writer: Writer) -> BundleRead:
        """Stage all of it; nothing is published. Raises :class:`BundleInvalid` for whatever is wrong."""
        contents = self._read_records(with_bases=True)
        new_records = 0
        for digest, data in self._records.items():
            new_records += writer.add_decoded(digest, data, is_top=digest in contents.tops)
        self._records.clear()
        # The walk found them in the order of the file, see _compare.
        for (digest, (size, encoded)), content in zip(contents.objects.items(), self._reader.objects(), strict=True):
            metadata = record.decode_metadata(encoded)
            if isinstance(content, Large):
                if not writer.have(digest, size):
                    with writer.stream(digest) as target:
                        for piece in content.pieces():
                            target.write(piece)
                        target.finish(metadata)
            else:
                writer.add_hashed(digest, content.data, metadata)
            self._progress.advance(content.item.size, 1)
        return BundleRead(
            manifest=self.manifest,
            bytes=self._reader.end(),
            new_objects=writer.new_objects,
            new_bytes=writer.new_bytes,
            new_records=new_records,
        )

    def check(self) -> BundleRead:
        """Check all of it and keep nothing."""
        with_bases = self._find_lacking_base() is None
        self._read_records(with_bases=with_bases)
        for content in self._reader.objects():
            if isinstance(content, Large):
                content.drain()
            self._progress.advance(content.item.size, 1)
        size = self._reader.end()
        notes = () if with_bases else ("Not checked is what it builds on, since that is not in this store",)
        return BundleRead(manifest=self.manifest, bytes=size, notes=notes)

    def entries(self) -> Iterator[tuple[Ref, Iterator[Entry]]]:
        """Yield refs and the entries of their trees."""
        self.check_bases()
        self._read_records(with_bases=True)
        layout = BundleLayout(self._layout, self._records)
        for ref in self.manifest.refs:
            yield ref, list_entries(layout, digest_bytes(ref.digest), b"", recursive=True)

    def _find_lacking_base(self) -> BundleBase | None:
        have = self._layout.has_tree
        return next((base for base in self.manifest.bases if not have(digest_bytes(base.digest))), None)

    def _read_records(self, *, with_bases: bool) -> Contents:
        """Read all records and check that they, and the list of contents, are those of whole trees."""
        self._progress.begin("Reading the bundle", self.manifest.bytes)
        self._records = self._reader.records(self._progress)
        with _told():
            contents = find_bundled(self.manifest, self._records)
            self._compare(contents)
        if with_bases:
            self._check_outer(contents)
            with _told():
                check_trees(self._layout, self.manifest, self._records)
        return contents

    def _compare(self, contents: Contents) -> None:
        """Check that the bundle holds what belongs into it, in that order, and nothing else."""
        for what, needed, listed in (
            ("records", contents.record_items(), self.manifest.records),
            ("contents", contents.object_items(), self.manifest.objects),
        ):
            if any(one != other for one, other in itertools.zip_longest(needed, listed)):
                raise _refused(f"its {what} are not those that its trees need, in the order of the trees")

    def _check_outer(self, contents: Contents) -> None:
        """Check that the bases have what the bundle's trees need beside it."""
        if not contents.outer_records and not contents.outer_objects:
            return
        bases = find_stored(self._layout, [digest_bytes(base.digest) for base in self.manifest.bases])
        for digest in contents.outer_records:
            if digest not in bases.records:
                raise _refused(f"its trees need the record {digest_text(digest)}, which neither it nor its bases have")
        for digest, size in contents.outer_objects.items():
            if bases.objects.get(digest, (None,))[0] != size:
                raise _refused(f"its trees need the content {digest_text(digest)}, which neither it nor its bases have")
            self._check_stored(digest, size)

    def _check_stored(self, digest: bytes, size: int) -> None:
        try:
            info = os.stat(self._layout.objects / fan_out(digest), follow_symlinks=False)
        except FileNotFoundError:
            info = None
        if info is None or info.st_size != size:
            raise ObjectMissing(
                f"The store lacks content of a tree that the bundle builds on: {digest_text(digest)}",
                hint="Run 'volt cas verify', then put or import that tree again.",
            )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say of a record that breaks a rule that it is the bundle's."""
    try:
        yield
    except ObjectCorrupt as error:
        raise _refused(error.brief) from error


def _refused(why: str) -> BundleInvalid:
    return BundleInvalid(f"Invalid bundle: {why}", hint=BundleInvalid.HINT)
