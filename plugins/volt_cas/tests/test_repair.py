"""``volt cas verify --repair``: good copies in the place of damaged ones, wherever they come from."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal

import pytest

from volt_cas import verify
from volt_cas.copies import DirectorySource, StoreSource, copies_at, open_copies
from volt_cas.layout import fan_out
from volt_cas.store import CasStore
from volt_core import native, run
from volt_core.contracts import BundleBase, CheckoutMode, Ref
from volt_core.errors import NotFoundError, StoreFull
from volt_core.testing import host
from volt_core.testing.trees import differences


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "sub/file").write_text("content")
    (top / "sub/file").chmod(0o640)
    (top / "large").write_bytes(os.urandom(3 << 20))
    (top / "other").write_text("another")
    return top


@pytest.fixture
def kept(store, source):
    """The digest of the tree, which a ref names."""
    return store.put_directory(source, ref=Ref(name="a", digest="")).digest


def path_of(store, digest, folder="objects"):
    return store.path / folder / fan_out(bytes.fromhex(digest.removeprefix("sha256:")))


def content_of(store, digest, path=b"sub/file"):
    return next(iter(store.entries(digest, path))).digest


def hurt(store, digest, path=b"sub/file"):
    """Change a byte of an object, in place, as a failing disk or a writer through a link does."""
    file = path_of(store, content_of(store, digest, path))
    with file.open("r+b") as stream:
        wrong = b"Y" if stream.read(1) == b"X" else b"X"
        stream.seek(0)
        stream.write(wrong)
    return file


@pytest.mark.parametrize("path", [b"sub/file", b"large"])
def test_a_directory_gives_its_file_whatever_its_name(store, kept, source, tmp_path, path):
    file = hurt(store, kept, path)
    before = file.stat().st_ino
    elsewhere = tmp_path / "elsewhere/deep"
    elsewhere.mkdir(parents=True)
    (elsewhere / "decoy").write_text("CONTENT")  # of the same size
    shutil.copy(source / os.fsdecode(path), elsewhere / "odd name")
    report = store.verify(repair=True, sources=[copies_at(tmp_path / "elsewhere")])
    assert report.damaged == ()
    (line,) = report.repaired
    assert f"directory '{tmp_path}/elsewhere'" in line
    assert file.stat().st_ino != before
    store.checkout(kept, tmp_path / "out")
    assert differences(source, tmp_path / "out") == []


def test_a_repaired_object_has_the_metadata_of_its_entry_and_needs_no_variant(store, kept, source, tmp_path):
    hurt(store, kept)
    store.verify(repair=True, sources=[DirectorySource(source)])
    store.checkout(kept, tmp_path / "linked", mode=CheckoutMode.LINK)
    assert store.usage().variants == 0
    assert differences(source, tmp_path / "linked") == []


@pytest.mark.parametrize("place", ["", "lib/cas"])
def test_another_store_gives_objects_and_records(store, kept, source, tmp_path, place):
    other = CasStore(tmp_path / "instance" / place)
    other.put_directory(source)
    hurt(store, kept)
    path_of(store, content_of(store, kept, b"large")).unlink()
    directory = next(iter(store.entries(kept, b"sub"))).digest
    path_of(store, directory, "trees").write_bytes(b"torn")
    path_of(store, kept, "trees").unlink()
    report = store.verify(repair=True, sources=[copies_at(tmp_path / "instance")])
    assert report.damaged == ()
    assert len(report.repaired) == 4
    assert store.verify().damaged == ()
    store.checkout(kept, tmp_path / "out")
    assert differences(source, tmp_path / "out") == []
    store.gc(grace=0)
    assert store.verify().damaged == ()


def test_a_source_that_is_damaged_as_well_is_passed_over(store, kept, source, tmp_path):
    first, second = CasStore(tmp_path / "first"), CasStore(tmp_path / "second")
    for other in (first, second):
        other.put_directory(source)
    hurt(first, kept)
    path_of(first, kept, "trees").write_bytes(b"torn")
    hurt(store, kept)
    path_of(store, kept, "trees").write_bytes(b"torn")
    report = store.verify(repair=True, sources=[StoreSource(it._layout) for it in (first, second)])
    assert report.damaged == ()
    assert all(str(second.path) in line for line in report.repaired)


def test_a_variant_repairs_the_object_and_the_object_a_variant(store, kept, source, tmp_path):
    (source / "sub/file").chmod(0o600)
    digest = store.put_directory(source, ref=Ref(name="b", digest="")).digest
    store.linked_tree(digest)
    assert store.usage().variants == 1
    hurt(store, kept)
    assert "a variant" in store.verify(repair=True).repaired[0]
    (variant,) = (path for path in (store.path / "variants").rglob("*") if path.is_file())
    variant.write_text("CONTENT")
    variant.chmod(0o600)
    report = store.verify(repair=True)
    assert report.damaged == ()
    assert (store.linked_tree(digest) / "sub/file").read_text() == "content"
    assert store.verify().damaged == ()


def test_what_has_no_good_copy_goes_to_quarantine_until_gc(store, kept, source):
    file = hurt(store, kept)
    (line,) = store.verify(repair=True).damaged
    name = content_of(store, kept).removeprefix("sha256:")
    assert f"quarantine/{name}" in line
    assert not file.exists()
    assert (store.path / "quarantine" / name).read_text() == "Xontent"
    assert store.put_directory(source).new_objects == 1
    assert store.verify().damaged == ()
    assert store.gc(grace=3600).kept_young
    assert any("quarantine" in gone for gone in store.gc(grace=0, dry_run=True).removed)
    store.gc(grace=0)
    assert list((store.path / "quarantine").iterdir()) == []


def test_damage_that_no_tree_needs_is_removed(store, kept, source):
    (source / "sub/file").write_text("nobody needs this")
    unneeded = store.put_directory(source).digest
    file = hurt(store, unneeded)
    for digest in (unneeded, next(iter(store.entries(unneeded, b"sub"))).digest):
        path_of(store, digest, "trees").unlink()
    report = store.verify(repair=True)
    assert (report.damaged, len(report.repaired)) == ((), 1)
    assert not file.exists()


def test_a_former_tree_is_repaired_as_well(store, kept, source):
    shutil.copytree(source, source.parent / "before")
    (source / "sub/file").write_text("new")
    store.put_directory(source, ref=Ref(name="a", digest=""))
    hurt(store, kept)
    assert len(store.verify(repair=True, sources=[DirectorySource(source.parent / "before")]).repaired) == 1
    assert store.read_file(kept, b"sub/file") == b"content"


def test_the_size_that_a_record_claims_harms_no_sound_object(store, kept, source, tmp_path):
    from volt_cas import record
    from volt_cas.objects import read_directory, read_tree
    from volt_cas.writer import open_writer

    layout = store._layout
    tree = read_tree(layout, bytes.fromhex(kept.removeprefix("sha256:")))
    entries = read_directory(layout, tree.digest).entries
    lying = tuple(
        record.msgspec.structs.replace(entry, size=5) if entry.name == b"other" else entry for entry in entries
    )
    with open_writer(layout) as writer:
        top = writer.add_tree(tree.metadata, writer.add_record(record.DirectoryRecord(lying)), ())
        writer.publish()
    store.set_ref(Ref(name="lies", digest=f"sha256:{top.hex()}"))
    report = store.verify(repair=True)
    assert any("instead of 5" in line for line in report.damaged)
    assert store.read_file(kept, b"other") == b"another"


def test_linked_trees_are_made_anew(store, kept, source):
    linked = store.linked_tree(kept)
    hurt(store, kept)
    assert (linked / "sub/file").read_text() == "Xontent"
    report = store.verify(repair=True, sources=[DirectorySource(source)])
    assert report.damaged == ()
    assert any("made anew" in line for line in report.repaired)
    assert linked == store.linked_tree(kept)
    assert differences(source, linked) == []
    assert list((store.path / "tmp").iterdir()) == []


def test_a_linked_tree_that_cannot_be_made_anew_stays(store, kept):
    linked = store.linked_tree(kept)
    hurt(store, kept)
    damaged = store.verify(repair=True).damaged
    assert any("linked tree" in line and "cannot be made anew" in line for line in damaged)
    assert (linked / "other").read_text() == "another"


def test_ctrl_c_while_a_linked_tree_is_made_anew_leaves_the_old_one(store, kept, source, monkeypatch):
    from volt_cas import links

    linked = store.linked_tree(kept)
    hurt(store, kept)
    with monkeypatch.context() as patch:
        patch.setattr(links, "sync_store", lambda layout: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            store.verify(repair=True, sources=[DirectorySource(source)])
    assert (linked / "sub/file").read_text() == "Xontent"
    assert list((store.path / "tmp").iterdir()) == []
    assert store.verify(repair=True).damaged == ()
    assert (linked / "sub/file").read_text() == "content"


def test_a_linked_tree_that_no_ref_uses_is_removed(store, kept, source):
    linked = store.linked_tree(kept)
    hurt(store, kept)
    store.delete_ref("a")
    report = store.verify(repair=True, sources=[DirectorySource(source)])
    assert report.damaged == ()
    assert not linked.exists()


def test_a_mounted_linked_tree_is_named_and_left_alone(store, kept, source, tmp_path):
    host.require("loop_mount")
    linked = store.linked_tree(kept)
    target = tmp_path / "mounted"
    target.mkdir()
    run.run(["mount", "--bind", str(linked), str(target)], timeout=30)
    try:
        hurt(store, kept)
        report = store.verify(repair=True, sources=[DirectorySource(source)])
        assert (target / "sub/file").read_text() == "Xontent"
    finally:
        run.run(["umount", str(target)], timeout=30)
    (line,) = report.damaged
    assert "it is mounted" in line
    assert store.verify(repair=True).damaged == ()


def test_checkouts_elsewhere_that_have_the_damage_are_counted(store, kept, source, tmp_path):
    for name in ("one", "two"):
        store.checkout(kept, tmp_path / name, mode=CheckoutMode.LINK)
    store.linked_tree(kept)
    hurt(store, kept)
    report = store.verify(repair=True, sources=[DirectorySource(source)])
    assert any("2 files of checkouts by --link still have the damaged one" in line for line in report.repaired)


@pytest.mark.parametrize("repair", [True, False])
def test_damage_makes_the_next_put_read_everything(store, kept, source, repair):
    for path in (source / "sub/file", source / "large", source / "other"):
        os.utime(path, ns=(10**18, 10**18))
    store.put_directory(source)
    assert list((store.path / "cache").glob("*.stat"))
    store.verify(repair=repair)
    assert list((store.path / "cache").glob("*.stat"))
    hurt(store, kept)
    store.verify(repair=repair)
    assert not list((store.path / "cache").glob("*.stat"))


def test_the_command_says_what_it_did_and_ends_with_6_while_damage_is_left(call, shop, grow, tmp_path):
    digest = grow("content", "a")
    shutil.copytree(tmp_path / "grown", tmp_path / "copy")
    hurt(shop, digest)
    out, said = call("verify", ok=6)
    assert "'sub/file' in a" in out
    assert "verify --repair --from" in said
    out, said = call("verify", "--repair", ok=6)
    assert "no good copy was found" in out
    assert "Hint" not in said
    out, said = call("verify", "--repair", "--from", tmp_path / "root", "--from", tmp_path / "copy")
    assert "replaced by a copy from directory" in out
    assert "nothing damaged, 1 repaired" in said
    assert json.loads(call("verify", "--json")[0])["repaired"] == []


def test_a_bundle_gives_objects_and_records(call, shop, grow, tmp_path):
    digest = grow("content", "a")
    with (tmp_path / "a.vbundle").open("wb") as stream:
        shop.write_bundle(stream, ["a"])
    hurt(shop, digest)
    path_of(shop, digest, "trees").write_bytes(b"torn")
    out, _ = call("verify", "--repair", "--from", tmp_path / "a.vbundle")
    assert out.count(f"bundle '{tmp_path}/a.vbundle'") == 2
    assert shop.read_file(digest, b"sub/file") == b"content"
    (tmp_path / "a.vbundle").write_bytes(b"PK torn")
    call("verify", "--repair", "--from", tmp_path / "a.vbundle", ok=6)


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("--from", "/"), 2, "Add --repair"),
        (("--repair", "--from", "/etc/hostname"), 6, "bundle"),
        (("--repair", "--from", "/no/such"), 3, "neither a bundle nor a directory"),
        (("--repair", "--from", ""), 2, "an empty path"),
    ],
)
def test_wrong_options_of_verify(call, words, status, text):
    assert text in call("verify", *words, ok=status)[1]


@pytest.mark.parametrize("wrong", [b"sub/file", b"large"])
def test_a_damaged_bundle_gives_what_is_sound_in_it(store, source, tmp_path, wrong):
    """Also one that builds on a tree that is not here any more."""
    base = BundleBase(name="base", digest=store.put_directory(source, ref=Ref(name="base", digest="")).digest)
    (source / "sub/file").write_text("changed")
    (source / "large").write_bytes(os.urandom(3 << 20))
    digest = store.put_directory(source, ref=Ref(name="a", digest="")).digest
    with (tmp_path / "a.vbundle").open("wb") as stream:
        store.write_bundle(stream, ["a"], bases=[base])
    store.delete_ref("base")
    content = (source / os.fsdecode(wrong)).read_bytes()
    data = (tmp_path / "a.vbundle").read_bytes()
    assert data.count(content) == 1
    (tmp_path / "a.vbundle").write_bytes(data.replace(content, content[:-1] + bytes([content[-1] ^ 1])))
    for path in (b"sub/file", b"large"):
        hurt(store, digest, path)
    with open_copies(tmp_path / "a.vbundle") as copies:
        report = store.verify(repair=True, sources=[copies])
    (line,) = report.damaged
    assert os.fsdecode(wrong) in line
    assert len(report.repaired) == 1
    (sound,) = {b"sub/file", b"large"} - {wrong}
    assert store.read_file(digest, sound) == (source / os.fsdecode(sound)).read_bytes()
    assert list((store.path / "tmp").iterdir()) == []


def test_repairing_what_is_not_there(tmp_path):
    store = CasStore(tmp_path / "nothing")
    assert store.verify(repair=True).repaired == ()
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(NotFoundError):
        copies_at(tmp_path / "nothing")


@pytest.fixture
def meanwhile(monkeypatch):
    """Have something happen between the reading of the store and its repair."""

    def arrange(act):
        read_all = verify.Verification.read_all

        def then_act(run):
            read_all(run)
            act()

        monkeypatch.setattr(verify.Verification, "read_all", then_act)

    return arrange


def test_what_is_put_beside_a_repair_stays(store, kept, source, tmp_path, meanwhile):
    (tmp_path / "new").mkdir()
    (tmp_path / "new/file").write_text("put meanwhile")
    hurt(store, kept)
    meanwhile(lambda: store.put_directory(tmp_path / "new", ref=Ref(name="new", digest="")))
    report = store.verify(repair=True, sources=[DirectorySource(source)])
    assert (report.damaged, len(report.repaired)) == ((), 1)
    assert store.read_file(store.find_ref("new").digest, b"file") == b"put meanwhile"
    assert not (store.path / "quarantine").exists()


def test_what_another_run_has_healed_meanwhile_stays(store, kept, source, meanwhile):
    file = path_of(store, content_of(store, kept))
    os.truncate(file, 2)
    meanwhile(lambda: store.put_directory(source))
    store.verify(repair=True)
    assert file.read_text() == "content"
    assert not (store.path / "quarantine").exists()


def test_what_a_disk_does_not_read_today_is_no_reason_to_remove_it(store, kept, source, monkeypatch, twin):
    unneeded = tuple(path for path in (store.path / "objects").rglob("*") if path.is_file())

    def fail(root, paths, **options):
        return [OSError(errno.EIO, "Input/output error") for _ in paths]

    def fail_one(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    store.linked_tree(kept)
    store.delete_ref("a")
    with monkeypatch.context() as patch:
        patch.setattr(native, "hash_files", fail)
        patch.setattr(native, "hash_file", fail_one)
        report = store.verify(repair=True)
    assert len(report.damaged) == len(unneeded)
    assert report.repaired == ()
    assert all(path.exists() for path in unneeded)
    assert store.verify().damaged == ()


def test_a_repair_on_a_full_disk_leaves_what_there_was(tmp_path, source):
    host.require("loop_mount")
    with host.loop_mounted("ext4", 16) as disk:
        store = CasStore(disk / "cas")
        kept = store.put_directory(source, ref=Ref(name="a", digest="")).digest
        file = hurt(store, kept, b"large")
        with (disk / "filler").open("wb") as filler, contextlib.suppress(OSError):
            while filler.raw.write(bytes(4096)):
                pass
        with pytest.raises(StoreFull):
            store.verify(repair=True, sources=[DirectorySource(source)])
        assert file.stat().st_size == 3 << 20
        (disk / "filler").unlink()
        assert store.verify(repair=True, sources=[DirectorySource(source)]).damaged == ()
