"""Conformance of a store's bundles; a part of :class:`volt_core.testing.store_kit.StoreConformance`, see there."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from volt_core.testing.store_cases import StoreCases
from volt_core.testing.trees import differences

FLIPS = 60
CUTS = 12


class BundleKit(StoreCases, facets=(Bundles,)):
    """All promises about bundles."""

    @pytest.fixture
    def filled(self, store: Any, source: Path) -> Any:
        """A store that holds the sample as the ref ``a``, with all that a ref can carry."""
        store.put_directory(source, ref=Ref(name="a", digest="", kind="image", meta={"z": "1", "b": "\u00e4"}))
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
    def test_s18_s19_a_tree_travels_through_a_pipe(self, filled: Any, tmp_path: Path, compression: Compression) -> None:
        (tmp_path / "source/large").write_bytes(_chance(1).randbytes(5 << 16) * 9)
        filled.put_directory(tmp_path / "source", ref=Ref(name="a", digest="", kind="image", meta={"k": "v"}))
        other = self.store_class(tmp_path / "other")
        done = other.read_bundle(one_way(self.bundle(filled, "a", compression=compression)))
        (ref,) = other.refs()
        assert (ref.name, ref.digest, ref.kind, ref.meta) == ("a", filled.find_ref("a").digest, "image", {"k": "v"})
        assert ref.updated > 0
        assert (done.new_objects, done.moved) == (other.usage().objects, ())
        assert other.verify().damaged == ()
        other.checkout(ref.digest, tmp_path / "out")
        assert differences(tmp_path / "source", tmp_path / "out", ignore={"holes"}) == []

    def test_s18_the_same_refs_give_the_same_bytes(self, filled: Any, tmp_path: Path) -> None:
        self.second(filled, tmp_path)
        again = self.store_class(tmp_path / "again")
        make_sample(tmp_path / "backwards", backwards=True)
        again.put_directory(tmp_path / "source", ref=Ref(name="b", digest=""))
        again.put_directory(
            tmp_path / "backwards", ref=Ref(name="a", digest="", kind="image", meta={"b": "\u00e4", "z": "1"})
        )
        assert self.bundle(filled, "a", "b") == self.bundle(again, "b", "a", "b")

    def test_s18_a_base_leaves_out_what_it_holds(self, filled: Any, other: Any, tmp_path: Path) -> None:
        (tmp_path / "source/etc/large").write_bytes(_chance(2).randbytes(100_000))
        first = filled.put_directory(tmp_path / "source", ref=Ref(name="a", digest="")).digest
        second = self.second(filled, tmp_path)
        whole = self.bundle(filled, "a")
        delta = self.bundle(filled, "b", bases=[BundleBase(first, "a")])
        assert len(delta) < 10_000
        assert delta == self.bundle(filled, "b", bases=[filled.inspect_bundle(io.BytesIO(whole))])
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
            filled.write_bundle(io.BytesIO(), ["b"], bases=[BundleBase("sha256:" + "0" * 64)])

    def test_s18_what_is_there_already_takes_no_room(self, filled: Any) -> None:
        digest = filled.find_ref("a").digest
        stream = io.BytesIO()
        manifest = filled.write_bundle(stream, ["a"], bases=[BundleBase(digest)]).manifest
        assert (manifest.records, manifest.objects) == ((), ())
        stream.seek(0)
        assert filled.read_bundle(stream).new_objects == 0

    def test_s18_only_sound_trees_of_refs_are_written(self, filled: Any) -> None:
        with pytest.raises(RefNotFound, match="nothing"):
            filled.write_bundle(io.BytesIO(), ["a", "nothing"])
        digest = filled.find_ref("a").digest
        filled.set_ref(Ref(name="use/container/x", digest=digest))
        with pytest.raises(InvalidName, match="use/"):
            filled.write_bundle(io.BytesIO(), ["use/container/x"])
        self.damage(filled, next(iter(filled.entries(digest, b"etc/hello"))).digest)
        with pytest.raises(ObjectCorrupt):
            filled.write_bundle(io.BytesIO(), ["a"])

    def test_s19_refs_that_move_are_told_and_can_be_set_again(self, filled: Any, tmp_path: Path) -> None:
        data = self.bundle(filled, "a")
        self.second(filled, tmp_path)
        filled.set_ref(Ref(name="a", digest=filled.find_ref("b").digest))
        before = filled.find_ref("a")
        assert filled.read_bundle(io.BytesIO(data)).moved == (before,)
        assert filled.find_ref("a").digest != before.digest
        assert filled.read_bundle(io.BytesIO(data)).moved == ()
        assert filled.ref_log("a")[-1].previous == before.digest

    def test_s19_whoever_reads_may_refuse_a_ref(self, filled: Any, other: Any) -> None:
        def refuse(ref: Ref) -> None:
            raise UsageError(f"not {ref.name}")

        before = self.facts(other)
        with pytest.raises(UsageError, match="not a"):
            other.read_bundle(io.BytesIO(self.bundle(filled, "a")), accept=refuse)
        assert self.facts(other) == before

    @pytest.mark.parametrize("how", ["cut", "flipped", "longer", "empty", "other"])
    def test_s19_s20_what_is_damaged_changes_nothing(self, filled: Any, other: Any, how: str) -> None:
        sound = self.bundle(filled, "a")
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

    def test_s20_inspecting_and_verifying_write_nothing(self, filled: Any, tmp_path: Path) -> None:
        data = self.bundle(filled, "a")
        nowhere = self.store_class(tmp_path / "nowhere")
        manifest = nowhere.inspect_bundle(one_way(data))
        assert isinstance(manifest, BundleManifest)
        assert [ref.name for ref in manifest.refs] == ["a"]
        found = nowhere.verify_bundle(one_way(data))
        assert (found.manifest, found.bytes, found.notes) == (manifest, len(data), ())
        assert not (tmp_path / "nowhere").exists()
        assert list(nowhere.refs()) == []

    def test_s20_the_entries_of_a_bundle_are_those_of_its_trees(self, filled: Any, tmp_path: Path) -> None:
        digest = filled.find_ref("a").digest
        nowhere = self.store_class(tmp_path / "nowhere")
        ((ref, entries),) = [(ref, list(it)) for ref, it in nowhere.bundle_entries(one_way(self.bundle(filled, "a")))]
        assert ref.digest == digest
        assert entries == list(filled.entries(digest))
        assert entries[0].type is EntryType.DIRECTORY
        self.second(filled, tmp_path)
        delta = self.bundle(filled, "b", bases=[BundleBase(digest)])
        with pytest.raises(ObjectMissing):
            list(nowhere.bundle_entries(one_way(delta)))


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def _flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
