"""Conformance of a store: all kits in one class. A subclass names the store's class and says how to damage an object::

    class TestMyStore(StoreConformance):
        store_class = MyStore

        def damage(self, store, digest): ...   # change one byte of the object
        def lose(self, store, digest): ...     # remove the object

Cases about bundles are skipped where the store has none. The numbers in the names of the cases are those of
``docs/store-contract.md``.
"""

from __future__ import annotations

import io
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from volt_core import fs, run
from volt_core.contracts import CheckoutMode, EntryType, MtimePolicy, Ref, Store
from volt_core.errors import (
    AlreadyExists,
    ArchiveInvalid,
    InvalidName,
    NotFoundError,
    ObjectMissing,
    RefNotFound,
)
from volt_core.testing import host
from volt_core.testing.bundle_kit import BundleKit
from volt_core.testing.content_kit import ContentCases
from volt_core.testing.samples import SAMPLE_CHANGES, SAMPLE_TIME, hostile_tars, make_sample, one_way
from volt_core.testing.store_cases import NOWHERE
from volt_core.testing.trees import differences


class StoreKit(ContentCases):
    """All promises of the contract but those of bundles."""

    def test_s1_opening_and_looking_writes_nothing(self, store: Store, tmp_path: Path) -> None:
        assert store.find_ref("images/x:latest") is None
        assert list(store.refs()) == []
        assert store.ref_log("images/x:latest") in ((), [])
        assert not tmp_path.joinpath("store").exists()

    def test_s2_put_sets_the_ref_and_counts(self, store: Store, source: Path) -> None:
        result = store.put_directory(source, ref=Ref(name="images/x:latest", digest="", kind="image", meta={"a": "b"}))
        ref = store.find_ref("images/x:latest")
        assert ref is not None
        assert (ref.digest, ref.kind, ref.meta) == (result.digest, "image", {"a": "b"})
        assert abs(ref.updated - time.time_ns()) < 60 * 10**9
        assert (result.files, result.bytes) == (6, sum(map(len, (b"hello\n", b"hello\n", b"tool", b"tool", b"x", b""))))
        assert result.new_objects in (3, 4)  # the empty file may need no object
        again = store.put_directory(source)
        assert (again.digest, again.new_objects, again.new_bytes) == (result.digest, 0, 0)

    def test_s2_equal_trees_have_equal_digests(self, store: Store, source: Path, tmp_path: Path) -> None:
        other = make_sample(tmp_path / "other", backwards=True)
        assert store.put_directory(other).digest == store.put_directory(source).digest

    @pytest.mark.parametrize("adopt", [True, False])
    def test_s2_an_adopted_or_reread_tree_is_the_same(
        self, store: Store, source: Path, tmp_path: Path, adopt: bool
    ) -> None:
        digest = store.put_directory(source).digest
        other = make_sample(tmp_path / "other")
        (other / "own").write_text("no object has this yet")
        os.utime(other, ns=(SAMPLE_TIME, SAMPLE_TIME))
        put = store.put_directory(other, adopt=adopt, rehash=not adopt)
        fs.remove_tree(other)
        assert store.read_file(put.digest, b"own") == b"no object has this yet"
        assert store.put_directory(source, adopt=adopt, rehash=not adopt).digest == digest
        assert store.verify().damaged == ()

    @pytest.mark.parametrize("change", ["content", "mode", "mtime", "name", "target", "hardlink", "type"])
    def test_s2_any_difference_is_another_digest(self, store: Store, source: Path, tmp_path: Path, change: str) -> None:
        before = store.put_directory(source).digest
        SAMPLE_CHANGES[change](source)
        assert store.put_directory(source).digest != before

    def test_s2_excluded_and_unstorable_things_are_left_out(self, store: Store, source: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            directory = os.open(source, os.O_RDONLY)
            try:
                listener.bind(f"/proc/self/fd/{directory}/socket")
            finally:
                os.close(directory)
        result = store.put_directory(source, exclude=["etc"])
        paths = {entry.path for entry in store.entries(result.digest)}
        assert b"socket" not in paths
        assert any("socket" in note for note in result.notes)
        assert not any(path.split(b"/")[0] == b"etc" for path in paths)

    def test_s2_one_file_system_stops_at_mounts(self, store: Store, source: Path) -> None:
        host.require("loop_mount")
        run.run(["mount", "-t", "tmpfs", "none", str(source / "etc")], timeout=30)
        try:
            (source / "etc" / "mounted").write_text("x")
            stopped = store.put_directory(source, one_file_system=True).digest
            whole = store.put_directory(source).digest
        finally:
            run.run(["umount", str(source / "etc")], timeout=30)
        paths = {entry.path for entry in store.entries(stopped)}
        assert b"etc" in paths
        assert b"etc/mounted" not in paths
        assert b"etc/mounted" in {entry.path for entry in store.entries(whole)}

    def test_s2_s3_clamped_times_are_zero(self, store: Store, source: Path) -> None:
        digest = store.put_directory(source, mtime=MtimePolicy.CLAMP).digest
        assert {entry.mtime_ns for entry in store.entries(digest)} == {0}
        archive = run.run(["tar", "--format=pax", "-C", str(source), "-cf", "-", "."], timeout=30).stdout
        assert store.put_tar(one_way(archive), mtime=MtimePolicy.CLAMP).digest == digest

    def test_s2_a_bad_ref_is_refused_before_anything_is_stored(self, store: Store, source: Path) -> None:
        with pytest.raises(InvalidName):
            store.put_directory(source, ref=Ref(name="../escape", digest=""))
        assert list(store.refs()) == []

    def test_s3_a_tar_is_the_same_tree(self, store: Store, source: Path) -> None:
        archive = run.run(["tar", "--format=pax", "-C", str(source), "-cf", "-", "."], timeout=30).stdout
        result = store.put_tar(one_way(archive), ref=Ref(name="a", digest=""))
        assert result.digest == store.put_directory(source).digest
        ref = store.find_ref("a")
        assert ref is not None
        assert ref.digest == result.digest

    @pytest.mark.parametrize("name", ["dotdot", "absolute", "through-link", "through-file", "hardlink", "truncated"])
    def test_s3_a_hostile_tar_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(ArchiveInvalid):
            store.put_tar(one_way(hostile_tars()[name]), ref=Ref(name="evil", digest=""))
        assert list(store.refs()) == []
        assert store.verify().damaged == ()

    def test_s3_a_ref_stays_where_it_was_on_failure(self, store: Store, source: Path) -> None:
        digest = store.put_directory(source, ref=Ref(name="a", digest="")).digest
        (source / "more").write_text("more")
        store.put_directory(source)
        with pytest.raises(ArchiveInvalid):
            store.put_tar(one_way(hostile_tars()["truncated"]), ref=Ref(name="a", digest=""))
        ref = store.find_ref("a")
        assert ref is not None
        assert ref.digest == digest
        assert len(store.ref_log("a")) == 1

    def test_s4_an_exported_tree_comes_back_the_same(self, store: Store, source: Path) -> None:
        digest = store.put_directory(source).digest
        first, second = io.BytesIO(), io.BytesIO()
        store.export_tar(digest, first)
        store.export_tar(digest, second)
        assert first.getvalue() == second.getvalue()
        assert store.put_tar(one_way(first.getvalue())).digest == digest
        with pytest.raises(ObjectMissing):
            store.export_tar(NOWHERE, io.BytesIO())

    @pytest.mark.parametrize("mode", [CheckoutMode.AUTO, CheckoutMode.COPY, CheckoutMode.LINK])
    def test_s5_a_checkout_is_the_tree(self, store: Store, source: Path, tmp_path: Path, mode: CheckoutMode) -> None:
        digest = store.put_directory(source).digest
        target = tmp_path / "target"
        target.mkdir()
        store.checkout(digest, target, mode=mode)
        assert differences(source, target, ignore={"hardlinks"} if mode is CheckoutMode.LINK else set()) == []

    def test_s2_s5_all_that_is_kept_comes_back(self, store: Store, source: Path, tmp_path: Path) -> None:
        host.require("user_xattrs")
        for name in ("etc/hello", "deep"):
            os.setxattr(source / name, "user.kept", b"\0\xff")
        digest = store.put_directory(source).digest
        store.checkout(digest, tmp_path / "target", mode=CheckoutMode.COPY)
        assert differences(source, tmp_path / "target") == []
        assert os.getxattr(tmp_path / "target/etc/hello", "user.kept") == b"\0\xff"

    @pytest.mark.parametrize("mode", [CheckoutMode.AUTO, CheckoutMode.COPY])
    def test_s5_a_checkout_is_the_callers_own(
        self, store: Store, source: Path, tmp_path: Path, mode: CheckoutMode
    ) -> None:
        digest = store.put_directory(source, ref=Ref(name="a", digest="")).digest
        store.checkout(digest, tmp_path / "target", mode=mode)
        with (tmp_path / "target/etc/hello").open("r+b") as file:
            file.write(b"J")
        assert store.verify().damaged == ()
        assert store.read_file(digest, b"etc/hello") == b"hello\n"

    def test_s5_a_destination_that_is_taken_is_left_alone(self, store: Store, source: Path, tmp_path: Path) -> None:
        digest = store.put_directory(source).digest
        (tmp_path / "full").mkdir()
        (tmp_path / "full/file").write_text("mine")
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        for taken in ("full", "full/file", "link"):
            with pytest.raises(AlreadyExists):
                store.checkout(digest, tmp_path / taken)
        assert (tmp_path / "full/file").read_text() == "mine"
        assert not (tmp_path / "nowhere").exists()

    def test_s5_a_checkout_that_fails_leaves_nothing(self, store: Store, source: Path, tmp_path: Path) -> None:
        digest = store.put_directory(source).digest
        with pytest.raises(ObjectMissing):
            store.checkout(NOWHERE, tmp_path / "target")
        self.lose(store, object_at(store, digest, b"etc/hello"))
        with pytest.raises(ObjectMissing):
            self.reopen(tmp_path).checkout(digest, tmp_path / "target")
        assert not (tmp_path / "target").exists()

    def test_s6_the_linked_tree_is_made_once(self, store: Store, source: Path, tmp_path: Path) -> None:
        digest = store.put_directory(source, ref=Ref(name="a", digest="")).digest
        with ThreadPoolExecutor(4) as pool:
            made = set(pool.map(lambda _: self.reopen(tmp_path).linked_tree(digest), range(4)))
        assert len(made) == 1
        assert differences(source, made.pop(), ignore={"hardlinks"}) == []
        with pytest.raises(ObjectMissing):
            store.linked_tree(NOWHERE)

    def test_s7_entries_tell_everything(self, store: Store, source: Path) -> None:
        entries = {entry.path: entry for entry in store.entries(store.put_directory(source).digest)}
        assert entries[b""].type is EntryType.DIRECTORY
        hello, tool = entries[b"etc/hello"], entries[b"bin/tool"]
        assert (hello.type, hello.mode, hello.size, hello.mtime_ns) == (EntryType.FILE, 0o640, 6, SAMPLE_TIME)
        assert (hello.uid, hello.gid) == (os.geteuid(), os.getegid())
        assert hello.digest == entries[b"etc/copy"].digest
        assert (hello.hardlink_group, tool.mode) == (0, 0o4755)
        assert tool.hardlink_group == entries[b"deep/er/same tool"].hardlink_group > 0
        assert entries[b"bin/link"].target == b"/etc/hello"
        assert entries[b"fifo"].type is EntryType.FIFO
        assert b"deep/\xff\n" in entries

    def test_s7_entries_come_in_order(self, store: Store, source: Path) -> None:
        digest = store.put_directory(source).digest
        paths = [entry.path for entry in store.entries(digest)]
        assert paths[0] == b""
        for position, path in enumerate(paths[1:], 1):
            parent, _, name = path.rpartition(b"/")
            assert parent in paths[:position]
            siblings = [other.rpartition(b"/")[2] for other in paths[1:position] if other.rpartition(b"/")[0] == parent]
            assert all(sibling < name for sibling in siblings)

    def test_s7_entries_below_a_path(self, store: Store, source: Path) -> None:
        digest = store.put_directory(source).digest
        assert [entry.path for entry in store.entries(digest, b"bin")] == [b"bin", b"bin/link", b"bin/tool"]
        assert [entry.path for entry in store.entries(digest, b"bin/tool")] == [b"bin/tool"]
        assert [entry.path for entry in store.entries(digest, b"bin/link")] == [b"bin/link"]
        flat = [entry.path for entry in store.entries(digest, recursive=False)]
        assert flat == [b"", b"bin", b"closed", b"deep", b"etc", b"fifo"]
        for nothing in (b"no", b"etc/hello/below", b"fi"):
            with pytest.raises(NotFoundError):
                list(store.entries(digest, nothing))
        with pytest.raises(ObjectMissing):
            list(store.entries(NOWHERE))

    def test_s8_read_file_follows_links_inside_the_tree(self, store: Store, source: Path) -> None:
        (source / "up").symlink_to("../../../../etc/hello")
        (source / "loop").symlink_to("loop")
        (source / "to-dir").symlink_to("etc")
        digest = store.put_directory(source).digest
        for path in (b"etc/hello", b"/etc/hello", b"bin/link", b"up", b"to-dir/hello"):
            assert store.read_file(digest, path) == b"hello\n", path
        for path in (b"loop", b"etc", b"etc/no", b"fifo", b"../etc/passwd"):
            with pytest.raises(NotFoundError):
                store.read_file(digest, path)

    def test_s9_a_ref_points_only_at_what_is_there(self, store: Store, source: Path) -> None:
        digest = store.put_directory(source).digest
        with pytest.raises(ObjectMissing):
            store.set_ref(Ref(name="a", digest=NOWHERE))
        for name in ("", "a/../b", "a//b", "a\nb", "x" * 300):
            with pytest.raises(InvalidName):
                store.set_ref(Ref(name=name, digest=digest))
        assert list(store.refs()) == []

    def test_s10_s11_refs_are_found_by_name_and_prefix(self, store: Store, source: Path, tmp_path: Path) -> None:
        digest = store.put_directory(source).digest
        for name in ("use/b", "images/b:1", "use/a"):
            store.set_ref(Ref(name=name, digest=digest))
        other = self.reopen(tmp_path)
        assert [ref.name for ref in other.refs()] == ["images/b:1", "use/a", "use/b"]
        assert [ref.name for ref in other.refs("use/")] == ["use/a", "use/b"]
        found = other.find_ref("images/b:1")
        assert found is not None
        assert found.digest == digest
        assert other.find_ref("images/b") is None

    def test_s12_s13_a_deleted_ref_keeps_its_log(self, store: Store, source: Path) -> None:
        first = store.put_directory(source, ref=Ref(name="a", digest="")).digest
        (source / "more").write_text("more")
        second = store.put_directory(source, ref=Ref(name="a", digest="")).digest
        store.delete_ref("a")
        assert store.find_ref("a") is None
        log = store.ref_log("a")
        assert [(change.previous, change.digest) for change in log] == [(None, first), (first, second), (second, None)]
        assert [change.time for change in log] == sorted(change.time for change in log)
        with pytest.raises(RefNotFound):
            store.delete_ref("a")

    def test_s9_s13_the_log_has_whole_values_and_changes_alone(self, store: Store, source: Path) -> None:
        values = [("image", {"entrypoint": "a"}), ("image", {"entrypoint": "b"}), ("tree", {"entrypoint": "b"})]
        digest = store.put_directory(source).digest
        for kind, meta in values:
            for _ in range(2):
                store.set_ref(Ref(name="a", digest=digest, kind=kind, meta=meta))
        log = store.ref_log("a")
        assert [(change.digest, change.kind, change.meta) for change in log] == [(digest, *value) for value in values]
        assert [change.previous for change in log] == [None, digest, digest]

    def test_s14_verify_of_a_sound_store(self, store: Store, source: Path) -> None:
        store.put_directory(source, ref=Ref(name="a", digest=""))
        report = store.verify()
        assert report.damaged == ()
        assert report.objects >= 3
        assert report.trees >= 1

    @pytest.mark.parametrize("how", ["damage", "lose"])
    def test_s14_verify_finds_damage_and_names_the_ref(
        self, store: Store, source: Path, tmp_path: Path, how: str
    ) -> None:
        digest = store.put_directory(source, ref=Ref(name="images/hurt:1", digest="")).digest
        hurt = object_at(store, digest, b"etc/hello")
        getattr(self, how)(store, hurt)
        damaged = "\n".join(self.reopen(tmp_path).verify().damaged)
        assert "images/hurt:1" in damaged
        assert hurt.removeprefix("sha256:")[:12] in damaged

    def test_s15_gc_keeps_what_refs_reach_and_removes_the_rest(
        self, store: Store, source: Path, tmp_path: Path
    ) -> None:
        kept = store.put_directory(source, ref=Ref(name="kept", digest="")).digest
        (source / "etc/garbage").write_text("nobody needs this")
        gone = store.put_directory(source).digest
        garbage = object_at(store, gone, b"etc/garbage")
        dry = store.gc(dry_run=True, grace=0)
        assert dry.dry_run
        assert any(garbage.removeprefix("sha256:") in line for line in dry.removed)
        assert store.read_file(gone, b"etc/garbage") == b"nobody needs this"
        wet = store.gc(grace=0)
        assert (wet.objects, wet.trees, wet.bytes) == (dry.objects, dry.trees, dry.bytes)
        assert wet.objects == 1
        with pytest.raises(ObjectMissing):
            store.read_file(gone, b"etc/garbage")
        assert store.verify().damaged == ()
        store.checkout(kept, tmp_path / "target")
        assert store.gc(grace=0).objects == 0

    def test_s15_gc_spares_what_is_young(self, store: Store, source: Path) -> None:
        digest = store.put_directory(source).digest
        report = store.gc(grace=3600)
        assert (report.objects, report.trees) == (0, 0)
        assert report.kept_young > 0
        assert store.read_file(digest, b"etc/hello") == b"hello\n"

    def test_s16_usage_counts_shared_content_once(self, store: Store, source: Path) -> None:
        for name in ("a", "b"):
            size = store.put_directory(source, ref=Ref(name=name, digest="")).bytes
        usage = store.usage()
        assert usage.refs == 2
        assert usage.referenced_bytes == 2 * size
        assert usage.object_bytes < size
        assert usage.objects >= 3
        assert usage.trees >= 1
        assert usage.free_bytes > 0

    def test_s17_puts_gc_and_readers_at_once(self, store: Store, source: Path, tmp_path: Path) -> None:
        sources = [make_sample(tmp_path / f"source{number}") for number in range(4)]
        for number, path in enumerate(sources):
            (path / "own").write_text(f"content {number}")

        def put(number: int) -> None:
            for _ in range(5):
                mine = self.reopen(tmp_path)
                digest = mine.put_directory(sources[number], ref=Ref(name=f"r/{number}", digest="")).digest
                assert mine.read_file(digest, b"own") == f"content {number}".encode()

        def collect(_: int) -> None:
            for _ in range(5):
                self.reopen(tmp_path).gc(grace=60)

        with ThreadPoolExecutor(5) as pool:
            jobs = [pool.submit(put, number) for number in range(4)] + [pool.submit(collect, 0)]
            for job in jobs:
                job.result(120)
        assert store.verify().damaged == ()
        assert len(list(store.refs("r/"))) == 4


class StoreConformance(StoreKit, BundleKit):
    """Everything that a store promises."""


def object_at(store: Store, digest: str, path: bytes) -> str:
    """Return the digest of the content of a file of the tree."""
    return next(iter(store.entries(digest, path))).digest
