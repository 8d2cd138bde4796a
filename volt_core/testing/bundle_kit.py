"""Conformance of a store's bundles. A subclass names the class, as for the store kit::

    class TestBundles(BundleKit):
        store_class = MyStore

        def damage(self, store, digest): ...   # change one byte of the object

The numbers in the names of the cases are those of ``docs/store-contract.md``.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from volt_core.contracts import BundleBase, BundleManifest, Bundles, Compression, EntryType, Ref, Store
from volt_core.errors import (
    ArchiveInvalid,
    InvalidName,
    ObjectCorrupt,
    ObjectMissing,
    RefNotFound,
    UsageError,
)
from volt_core.testing.samples import make_sample, one_way
from volt_core.testing.trees import differences

FLIPS = 60
CUTS = 12


class BundleKit:
    """All promises about bundles."""

    store_class: ClassVar[Any]

    def damage(self, store: Any, digest: str) -> None:
        """Change one byte of a stored object."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Any:
        """A store that holds the sample as the ref ``a``, with all that a ref can carry."""
        store = self.store_class(tmp_path / "store")
        make_sample(tmp_path / "source")
        ref = Ref(name="a", digest="", kind="image", meta={"z": "1", "b": "\u00e4"})
        store.put_directory(tmp_path / "source", ref=ref)
        return store

    @pytest.fixture
    def other(self, tmp_path: Path) -> Any:
        """Another store of the class, which holds something else."""
        other = self.store_class(tmp_path / "other")
        (tmp_path / "else").mkdir()
        (tmp_path / "else/file").write_text("else")
        other.put_directory(tmp_path / "else", ref=Ref(name="kept", digest=""))
        return other

    def bundle(self, store: Bundles, *refs: str, **options: Any) -> bytes:
        """Return the bytes of a bundle."""
        stream = io.BytesIO()
        written = store.write_bundle(stream, refs, **options)
        assert written.bytes == len(stream.getvalue())
        return stream.getvalue()

    def facts(self, store: Store) -> Any:
        """Return what a store holds, for a comparison."""
        usage = store.usage()
        counts = (usage.objects, usage.object_bytes, usage.variants, usage.trees, usage.tree_bytes, usage.links)
        return counts, list(store.refs()), [store.ref_log(ref.name) for ref in store.refs()], store.verify().damaged

    def second(self, store: Any, tmp_path: Path) -> str:
        """Change little of the sample and put it as ``b``; return the tree's digest."""
        (tmp_path / "source/etc/hello").write_text("changed")
        digest: str = store.put_directory(tmp_path / "source", ref=Ref(name="b", digest="")).digest
        return digest

    @pytest.mark.parametrize("compression", Compression)
    def test_s18_s19_a_tree_travels_through_a_pipe(self, store: Any, tmp_path: Path, compression: Compression) -> None:
        (tmp_path / "source/large").write_bytes(_chance(1).randbytes(5 << 16) * 9)
        store.put_directory(tmp_path / "source", ref=Ref(name="a", digest="", kind="image", meta={"k": "v"}))
        other = self.store_class(tmp_path / "other")
        done = other.read_bundle(one_way(self.bundle(store, "a", compression=compression)))
        (ref,) = other.refs()
        assert (ref.name, ref.digest, ref.kind, ref.meta) == ("a", store.find_ref("a").digest, "image", {"k": "v"})
        assert ref.updated > 0
        assert (done.new_objects, done.moved) == (other.usage().objects, ())
        assert other.verify().damaged == ()
        other.checkout(ref.digest, tmp_path / "out")
        assert differences(tmp_path / "source", tmp_path / "out", ignore={"holes"}) == []

    def test_s18_the_same_refs_give_the_same_bytes(self, store: Any, tmp_path: Path) -> None:
        self.second(store, tmp_path)
        again = self.store_class(tmp_path / "again")
        make_sample(tmp_path / "backwards", backwards=True)
        again.put_directory(tmp_path / "source", ref=Ref(name="b", digest=""))
        again.put_directory(
            tmp_path / "backwards", ref=Ref(name="a", digest="", kind="image", meta={"b": "\u00e4", "z": "1"})
        )
        assert self.bundle(store, "a", "b") == self.bundle(again, "b", "a", "b")

    def test_s18_a_base_leaves_out_what_it_holds(self, store: Any, other: Any, tmp_path: Path) -> None:
        (tmp_path / "source/etc/large").write_bytes(_chance(2).randbytes(100_000))
        first = store.put_directory(tmp_path / "source", ref=Ref(name="a", digest="")).digest
        second = self.second(store, tmp_path)
        whole = self.bundle(store, "a")
        delta = self.bundle(store, "b", bases=[BundleBase(first, "a")])
        assert len(delta) < 10_000
        assert delta == self.bundle(store, "b", bases=[store.inspect_bundle(io.BytesIO(whole))])
        before = self.facts(other)
        with pytest.raises(ObjectMissing, match=f"'a', {first}"):
            other.read_bundle(one_way(delta))
        assert self.facts(other) == before
        assert other.verify_bundle(one_way(delta)).notes
        other.read_bundle(one_way(whole))
        assert not other.verify_bundle(one_way(delta)).notes
        assert other.read_bundle(one_way(delta)).new_objects == 1
        assert other.find_ref("b").digest == second
        assert other.verify().damaged == ()
        with pytest.raises(ObjectMissing):
            store.write_bundle(io.BytesIO(), ["b"], bases=[BundleBase("sha256:" + "0" * 64)])

    def test_s18_what_is_there_already_takes_no_room(self, store: Any) -> None:
        digest = store.find_ref("a").digest
        stream = io.BytesIO()
        manifest = store.write_bundle(stream, ["a"], bases=[BundleBase(digest)]).manifest
        assert (manifest.records, manifest.objects) == ((), ())
        stream.seek(0)
        assert store.read_bundle(stream).new_objects == 0

    def test_s18_only_sound_trees_of_refs_are_written(self, store: Any) -> None:
        with pytest.raises(RefNotFound, match="nothing"):
            store.write_bundle(io.BytesIO(), ["a", "nothing"])
        digest = store.find_ref("a").digest
        store.set_ref(Ref(name="use/container/x", digest=digest))
        with pytest.raises(InvalidName, match="use/"):
            store.write_bundle(io.BytesIO(), ["use/container/x"])
        self.damage(store, next(iter(store.entries(digest, b"etc/hello"))).digest)
        with pytest.raises(ObjectCorrupt):
            store.write_bundle(io.BytesIO(), ["a"])

    def test_s19_refs_that_move_are_told_and_can_be_set_again(self, store: Any, tmp_path: Path) -> None:
        data = self.bundle(store, "a")
        self.second(store, tmp_path)
        store.set_ref(Ref(name="a", digest=store.find_ref("b").digest))
        before = store.find_ref("a")
        assert store.read_bundle(io.BytesIO(data)).moved == (before,)
        assert store.find_ref("a").digest != before.digest
        assert store.read_bundle(io.BytesIO(data)).moved == ()
        assert store.ref_log("a")[-1].previous == before.digest

    def test_s19_whoever_reads_may_refuse_a_ref(self, store: Any, other: Any) -> None:
        def refuse(ref: Ref) -> None:
            raise UsageError(f"not {ref.name}")

        before = self.facts(other)
        with pytest.raises(UsageError, match="not a"):
            other.read_bundle(io.BytesIO(self.bundle(store, "a")), accept=refuse)
        assert self.facts(other) == before

    @pytest.mark.parametrize("how", ["cut", "flipped", "longer", "empty", "other"])
    def test_s19_s20_what_is_damaged_changes_nothing(self, store: Any, other: Any, how: str) -> None:
        sound = self.bundle(store, "a")
        chance = _chance(3)
        damaged: dict[str, Callable[[], list[bytes]]] = {
            "cut": lambda: [sound[:at] for at in range(0, len(sound), len(sound) // CUTS)],
            "flipped": lambda: [_flipped(sound, chance) for _ in range(FLIPS)],
            "longer": lambda: [sound + b"\0", b"\0" + sound, sound + sound],
            "empty": lambda: [b""],
            "other": lambda: [b"PK\5\6" + bytes(18), b"\x1f\x8b" + bytes(50), b"{}"],
        }
        before = self.facts(other)
        for data in damaged[how]():
            with pytest.raises(ArchiveInvalid):
                other.read_bundle(one_way(data))
            with pytest.raises(ArchiveInvalid):
                other.verify_bundle(one_way(data))
        assert self.facts(other) == before

    def test_s20_inspecting_and_verifying_write_nothing(self, store: Any, tmp_path: Path) -> None:
        data = self.bundle(store, "a")
        nowhere = self.store_class(tmp_path / "nowhere")
        manifest = nowhere.inspect_bundle(one_way(data))
        assert isinstance(manifest, BundleManifest)
        assert [ref.name for ref in manifest.refs] == ["a"]
        found = nowhere.verify_bundle(one_way(data))
        assert (found.manifest, found.bytes, found.notes) == (manifest, len(data), ())
        assert not (tmp_path / "nowhere").exists()
        assert list(nowhere.refs()) == []

    def test_s20_the_entries_of_a_bundle_are_those_of_its_trees(self, store: Any, tmp_path: Path) -> None:
        digest = store.find_ref("a").digest
        nowhere = self.store_class(tmp_path / "nowhere")
        ((ref, entries),) = [(ref, list(it)) for ref, it in nowhere.bundle_entries(one_way(self.bundle(store, "a")))]
        assert ref.digest == digest
        assert entries == list(store.entries(digest))
        assert entries[0].type is EntryType.DIRECTORY
        self.second(store, tmp_path)
        delta = self.bundle(store, "b", bases=[BundleBase(digest)])
        with pytest.raises(ObjectMissing):
            list(nowhere.bundle_entries(one_way(delta)))


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def _flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
