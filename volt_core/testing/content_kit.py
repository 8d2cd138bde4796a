"""Cases of the store kit about content: what differs, reading it in pieces, room, repair, and former values."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import pytest

from volt_core.contracts import Aspect, ChangeKind, CheckoutMode, Entry, EntryType, Ref, Store
from volt_core.errors import NotFoundError, ObjectMissing, StoreError
from volt_core.testing.samples import SAMPLE_CHANGES, SAMPLE_TIME, make_sample
from volt_core.testing.store_cases import NOWHERE, StoreCases


class Copies:
    """A source for repairs that has what it is given, right or wrong."""

    name = "copies"

    def __init__(self, **contents: bytes) -> None:
        self.contents = {f"sha256:{digest}": data for digest, data in contents.items()}
        self.asked: list[tuple[str, int]] = []

    def find_object(self, digest: str, size: int) -> BinaryIO | None:
        """Return what there is for the digest."""
        self.asked.append((digest, size))
        data = self.contents.get(digest)
        return None if data is None else io.BytesIO(data)

    def find_record(self, digest: str) -> bytes | None:
        """Return None."""
        return None


class ContentCases(StoreCases):
    """Part of the store kit."""

    @pytest.mark.parametrize("how", ["damage", "lose"])
    def test_s14_a_repair_takes_the_first_good_copy(self, store: Store, source: Path, how: str) -> None:
        digest = store.put_directory(source, ref=Ref(name="a", digest="")).digest
        hurt = entry_at(store, digest, b"etc/hello").digest
        getattr(self, how)(store, hurt)
        wrong = Copies(**{hurt.removeprefix("sha256:"): b"jello\n"})
        long = Copies(**{hurt.removeprefix("sha256:"): b"hello\n and more"})
        good = Copies(**{hurt.removeprefix("sha256:"): b"hello\n"})
        report = store.verify(repair=True, sources=[Copies(), wrong, long, good])
        assert report.damaged == ()
        assert any(hurt in line and "copies" in line for line in report.repaired)
        assert good.asked == [(hurt, 6)]
        assert store.verify() == store.verify(repair=True, sources=[good])
        assert store.read_file(digest, b"etc/hello") == b"hello\n"

    @pytest.mark.parametrize("how", ["damage", "lose"])
    def test_s14_what_has_no_good_copy_stays_reported_until_it_is_put_again(
        self, store: Store, source: Path, how: str
    ) -> None:
        digest = store.put_directory(source, ref=Ref(name="images/hurt:1", digest="")).digest
        hurt = entry_at(store, digest, b"etc/hello").digest
        getattr(self, how)(store, hurt)
        for _ in range(2):
            report = store.verify(repair=True, sources=[Copies()])
            assert report.repaired == ()
            assert any(hurt in line and "images/hurt:1" in line for line in report.damaged)
        with pytest.raises(StoreError):
            store.read_file(digest, b"etc/hello")
        assert store.put_directory(source).digest == digest
        assert store.verify().damaged == ()
        assert store.read_file(digest, b"etc/hello") == b"hello\n"

    def test_s14_the_linked_tree_has_what_was_repaired(self, store: Store, source: Path) -> None:
        digest = store.put_directory(source, ref=Ref(name="a", digest="")).digest
        hurt = entry_at(store, digest, b"etc/hello").digest
        store.linked_tree(digest)
        self.damage(store, hurt)
        store.verify(repair=True, sources=[Copies(**{hurt.removeprefix("sha256:"): b"hello\n"})])
        assert (store.linked_tree(digest) / "etc/hello").read_bytes() == b"hello\n"
        assert store.verify().damaged == ()

    def test_s15_gc_keeps_the_newest_former_values(self, store: Store, source: Path) -> None:
        digests = []
        for number in range(4):
            (source / "etc/version").write_text(f"version {number}")
            digests.append(store.put_directory(source, ref=Ref(name="a", digest="")).digest)
        store.set_ref(Ref(name="a", digest=digests[2]))
        assert store.gc(grace=0, keep_last=2, dry_run=True).trees == store.gc(grace=0, keep_last=2).trees
        kept = [digest for digest in digests if has(store, digest)]
        assert kept == [digests[1], digests[2], digests[3]]
        assert store.read_file(digests[3], b"etc/version") == b"version 3"
        store.gc(grace=0)
        assert [digest for digest in digests if has(store, digest)] == [digests[2]]
        assert store.verify().damaged == ()

    def test_s15_gc_keeps_no_former_value_of_a_deleted_ref(self, store: Store, source: Path) -> None:
        digest = store.put_directory(source, ref=Ref(name="a", digest="")).digest
        store.delete_ref("a")
        store.gc(grace=0, keep_last=9)
        assert not has(store, digest)

    @pytest.mark.parametrize(
        ("change", "path", "aspect"),
        [
            ("content", b"etc/hello", Aspect.CONTENT),
            ("mode", b"closed", Aspect.MODE),
            ("mtime", b"etc/hello", Aspect.TIME),
            ("target", b"bin/link", Aspect.TARGET),
            ("hardlink", b"bin/tool", Aspect.HARDLINKS),
        ],
    )
    def test_s21_diff_says_what_changed(
        self, store: Store, source: Path, change: str, path: bytes, aspect: Aspect
    ) -> None:
        before = store.put_directory(source).digest
        SAMPLE_CHANGES[change](source)
        after = store.put_directory(source).digest
        found = {it.path: it for it in store.diff(before, after)}
        assert found[path].kind is ChangeKind.CHANGED
        assert aspect in found[path].aspects
        assert (found[path].before, found[path].after) == (entry_at(store, before, path), entry_at(store, after, path))
        assert {it.path for it in store.diff(after, before)} == found.keys()

    def test_s21_diff_names_what_came_and_went_in_order(self, store: Store, source: Path) -> None:
        before = store.put_directory(source).digest
        shutil.rmtree(source / "deep")
        (source / "deep").write_text("a file now")
        (source / "new/er").mkdir(parents=True)
        (source / "new/er/file").write_text("x")
        (source / "fifo").unlink()
        after = store.put_directory(source).digest
        found = [(it.kind.value, it.path) for it in store.diff(before, after)]
        assert found == [
            ("changed", b""),
            ("changed", b"bin/tool"),  # its other name is gone
            ("changed", b"deep"),
            ("removed", b"deep/er"),
            ("removed", b"deep/er/empty"),
            ("removed", b"deep/er/same tool"),
            ("removed", b"deep/\xff\n"),
            ("removed", b"fifo"),
            ("added", b"new"),
            ("added", b"new/er"),
            ("added", b"new/er/file"),
        ]
        deep = next(it for it in store.diff(before, after) if it.path == b"deep")
        assert deep.aspects[0] is Aspect.TYPE
        assert deep.before is not None
        assert deep.before.type is EntryType.DIRECTORY

    def test_s21_diff_of_equal_trees_and_of_none(self, store: Store, source: Path, tmp_path: Path) -> None:
        digest = store.put_directory(source).digest
        assert list(store.diff(digest, store.put_directory(make_sample(tmp_path / "other")).digest)) == []
        for pair in ((digest, NOWHERE), (NOWHERE, digest), (NOWHERE, NOWHERE)):
            with pytest.raises(ObjectMissing):
                list(store.diff(*pair))

    def test_s22_a_file_is_read_in_pieces(self, store: Store, source: Path) -> None:
        content = os.urandom(300_000)
        (source / "etc/large").write_bytes(content)
        (source / "up").symlink_to("../../etc/large")
        digest = store.put_directory(source).digest
        for path in (b"etc/large", b"up", b"/etc/large"):
            with store.open_file(digest, path) as stream:
                assert stream.read(5) == content[:5]
                assert stream.read() == content[5:]
        with store.open_file(digest, b"deep/er/empty") as stream:
            assert stream.read() == b""
        for path in (b"etc", b"etc/no", b"fifo"):
            with pytest.raises(NotFoundError):
                store.open_file(digest, path)
        with pytest.raises(ObjectMissing):
            store.open_file(NOWHERE, b"etc/large")

    def test_s23_space_says_what_each_ref_adds(self, store: Store, source: Path, tmp_path: Path) -> None:
        assert store.space().refs == ()
        assert store.space().allocated_bytes == 0
        store.put_directory(source, ref=Ref(name="a", digest=""))
        store.set_ref(Ref(name="b", digest=store.put_directory(source).digest))
        other = make_sample(tmp_path / "other")
        (other / "own").write_bytes(b"x" * 1000)
        os.utime(other, ns=(SAMPLE_TIME, SAMPLE_TIME))
        store.put_directory(other, ref=Ref(name="c", digest=""))
        space = store.space()
        common = len(b"hello\n" + b"tool" + b"x")
        assert [(it.name, it.bytes, it.unique_bytes) for it in space.refs] == [
            ("a", common, 0),
            ("b", common, 0),
            ("c", common + 1000, 1000),
        ]
        assert 0 < space.free_bytes <= space.total_bytes
        assert space.allocated_bytes > 0
        store.delete_ref("a")
        store.delete_ref("b")
        assert [it.unique_bytes for it in store.space().refs] == [common + 1000]

    def test_s5_a_reflink_is_made_or_refused(self, store: Store, source: Path, tmp_path: Path) -> None:
        digest = store.put_directory(source).digest
        try:
            result = store.checkout(digest, tmp_path / "target", mode=CheckoutMode.REFLINK)
        except StoreError:
            assert not (tmp_path / "target").exists()
        else:
            assert result.reflinked > 0
            assert (tmp_path / "target/etc/hello").read_bytes() == b"hello\n"


def entry_at(store: Store, digest: str, path: bytes) -> Entry:
    """Return one entry of a tree."""
    return next(iter(store.entries(digest, path, recursive=False)))


def has(store: Store, digest: str) -> bool:
    """Tell whether the store has the tree."""
    try:
        return any(True for _ in store.entries(digest))
    except ObjectMissing:
        return False
