"""Linked checkouts: which inode a file gets, and that nothing in the store changes by it."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile

import pytest

from volt_cas.checkout import Checkout
from volt_cas.record import Metadata, metadata_digest
from volt_cas.staging import open_staging
from volt_cas.store import CasStore
from volt_cas.variants import Linker
from volt_core.contracts import SILENT, CheckoutMode, Ref
from volt_core.errors import StoreError, StoreFull
from volt_core.testing import host
from volt_core.testing.trees import differences

pytestmark = pytest.mark.usefixtures("engine")


def inode(path):
    return path.stat().st_dev, path.stat().st_ino


def metadata_of_entries(store, digest):
    for entry in store.entries(digest):
        xattrs = tuple((name.encode(), value) for name, value in entry.xattrs.items())
        yield Metadata(entry.mode, entry.uid, entry.gid, *divmod(entry.mtime_ns, 10**9), xattrs)


def stored_inodes(store, folder):
    return {inode(path) for path in (store.path / folder).rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path):
    """Three files of one content: two with equal metadata, one with another mode; and an empty one."""
    top = tmp_path / "source"
    top.mkdir()
    for name, mode in (("a", 0o644), ("b", 0o644), ("c", 0o755), ("empty", 0o644)):
        (top / name).write_text("" if name == "empty" else "content")
        (top / name).chmod(mode)
        os.utime(top / name, ns=(0, 10**18))
    return top


def test_the_first_one_seen_is_the_object_and_others_are_variants(store, source, tmp_path):
    digest = store.put_directory(source).digest
    result = store.checkout(digest, tmp_path / "out", mode=CheckoutMode.LINK)
    (the_object,) = stored_inodes(store, "objects")
    (the_variant,) = stored_inodes(store, "variants")
    assert inode(tmp_path / "out/a") == inode(tmp_path / "out/b") == the_object
    assert inode(tmp_path / "out/c") == the_variant
    assert inode(tmp_path / "out/empty") not in (the_object, the_variant)
    assert result.linked == 3
    assert differences(source, tmp_path / "out", ignore={"hardlinks"}) == []
    usage = store.usage()
    assert (usage.objects, usage.object_bytes, usage.variants, usage.variant_bytes) == (1, 7, 1, 7)


def test_a_variant_serves_all_checkouts(store, source, tmp_path):
    digest = store.put_directory(source).digest
    for name in ("one", "two"):
        store.checkout(digest, tmp_path / name, mode=CheckoutMode.LINK)
    assert inode(tmp_path / "one/c") == inode(tmp_path / "two/c")
    assert store.usage().variants == 1


def test_an_object_whose_metadata_was_changed_is_not_linked(store, source, tmp_path):
    digest = store.put_directory(source).digest
    for path in (store.path / "objects").rglob("??*"):
        if path.is_file():
            path.chmod(0o600)
    store.checkout(digest, tmp_path / "out", mode=CheckoutMode.LINK)
    assert differences(source, tmp_path / "out", ignore={"hardlinks"}) == []
    assert store.usage().variants == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, 1),
        lambda path: path.chmod(0o4777),
        lambda path: os.utime(path, (1, 1)),
        lambda path: os.setxattr(path, "user.x", b"1"),
    ],
)
def test_a_variant_that_was_written_to_is_made_anew(store, source, tmp_path, damage):
    digest = store.put_directory(source).digest
    store.checkout(digest, tmp_path / "one", mode=CheckoutMode.LINK)
    damage(tmp_path / "one/c")
    store.checkout(digest, tmp_path / "two", mode=CheckoutMode.LINK)
    assert differences(source, tmp_path / "two", ignore={"hardlinks"}) == []
    assert store.verify().damaged == ()
    assert not list((store.path / "tmp").iterdir())
    store.checkout(digest, tmp_path / "three", mode=CheckoutMode.LINK)
    assert inode(tmp_path / "two/c") == inode(tmp_path / "three/c")


def test_an_object_with_an_attribute_of_overlayfs_is_not_linked(store, source, tmp_path):
    digest = store.put_directory(source).digest
    (path,) = (path for path in (store.path / "objects").rglob("*") if path.is_file())
    os.setxattr(path, "user.overlay.metacopy", b"")
    store.checkout(digest, tmp_path / "out", mode=CheckoutMode.LINK)
    assert inode(tmp_path / "out/a") == inode(tmp_path / "out/b") != inode(path)
    assert os.listxattr(tmp_path / "out/a") == []


def test_siblings_are_made_at_the_limit_of_links(store, tmp_path, monkeypatch):
    top = tmp_path / "source"
    top.mkdir()
    for number in range(20):
        (top / f"{number:02}").write_text("content")
        os.utime(top / f"{number:02}", ns=(0, 10**18))
    digest = store.put_directory(top).digest
    (tmp_path / "out").mkdir()
    with open_staging(store._layout) as staging:
        run = Checkout(store._layout, SILENT, staging=staging)
        run._linker = Linker(store._layout, staging, run._applier, max_links=6)
        run.run(bytes.fromhex(digest[7:]), tmp_path / "out")
    assert differences(top, tmp_path / "out", ignore={"hardlinks"}) == []
    links = sorted(path.stat().st_nlink for path in (tmp_path / "out").iterdir())
    assert links[-1] == 6
    assert store.usage().variants == 3  # the object and the first variants are full, the last has room
    names = sorted(path.name.rpartition(".")[2] for path in (store.path / "variants").rglob("*.*"))
    assert names[:2] == ["1", "2"]
    assert store.verify().damaged == ()


def test_hard_links_reach_the_limit_too(store, tmp_path):
    top = tmp_path / "source"
    top.mkdir()
    (top / "00").write_text("content")
    for number in range(1, 20):
        os.link(top / "00", top / f"{number:02}")
    digest = store.put_directory(top).digest
    (tmp_path / "out").mkdir()
    with open_staging(store._layout) as staging:
        run = Checkout(store._layout, SILENT, staging=staging)
        run._linker = Linker(store._layout, staging, run._applier, max_links=6)
        assert run.run(bytes.fromhex(digest[7:]), tmp_path / "out").linked == 20
    assert differences(top, tmp_path / "out", ignore={"hardlinks"}) == []
    assert max(path.stat().st_nlink for path in (tmp_path / "out").iterdir()) == 6


@pytest.mark.needs_loop_mount
def test_the_true_limit_of_ext4_is_met():
    with host.loop_mounted("ext4", 64, "-N", "2000") as disk:
        store = CasStore(disk / "cas")
        (disk / "source").mkdir()
        (disk / "source/file").write_text("content")
        digest = store.put_directory(disk / "source").digest
        (path,) = (path for path in (store.path / "objects").rglob("*") if path.is_file())
        (disk / "many").mkdir()
        for number in range(64_999):
            os.link(path, disk / "many" / str(number))
        store.checkout(digest, disk / "out", mode=CheckoutMode.LINK)
        assert (disk / "out/file").read_text() == "content"
        assert inode(disk / "out/file") != inode(path)


@pytest.mark.needs_loop_mount
def test_another_file_system_is_refused_with_a_hint(store, source):
    digest = store.put_directory(source).digest
    with host.loop_mounted("ext4", 16) as disk:
        with pytest.raises(StoreError, match="--copy"):
            store.checkout(digest, disk / "out", mode=CheckoutMode.LINK)
        assert not (disk / "out").exists()


def test_the_linked_tree_is_shared_and_whole(store, awkward):
    digest = store.put_directory(awkward, ref=Ref(name="use/x", digest="")).digest
    path = store.linked_tree(digest)
    assert store.linked_tree(digest) == path
    assert path.is_relative_to(store.path / "links" / digest.removeprefix("sha256:"))
    assert differences(awkward, path, ignore={"hardlinks"}) == []
    assert store.usage().links == 1
    assert not list((store.path / "tmp").iterdir())


def test_a_root_directory_that_may_not_be_written_can_be_linked(store, source):
    source.chmod(0o555)
    path = store.linked_tree(store.put_directory(source).digest)
    assert path.stat().st_mode & 0o777 == 0o555


@pytest.mark.needs_loop_mount
def test_what_a_file_system_cannot_keep_is_left_out_with_a_note(tmp_path):
    size = 10_000  # of an attribute; ext4 takes less than a block
    value = b"SCHILY.xattr.user.large=" + b"v" * size
    record = b"%d %s\n" % (len(value) + 7, value)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, moment in (("file", 2**62), ("same", -(2**40))):
            info = tarfile.TarInfo(name)
            info.size = 1
            info.pax_headers = {"SCHILY.xattr.user.large": "v" * size, "mtime": str(moment)}
            tar.addfile(info, io.BytesIO(b"x"))
    assert record in archive.getvalue()
    with host.loop_mounted("ext4", 32) as disk:
        store = CasStore(disk / "cas")
        archive.seek(0)
        digest = store.put_tar(archive).digest
        for mode in (CheckoutMode.COPY, CheckoutMode.LINK, CheckoutMode.LINK):
            result = store.checkout(digest, disk / f"out{len(os.listdir(disk))}", mode=mode)
            (note,) = result.notes
            assert "user.large" in note
        names = {path.name.partition(".")[2] for path in (store.path / "variants").rglob("*.*")}
        full = {metadata_digest(metadata).hex() for metadata in metadata_of_entries(store, digest)}
        assert not names & full  # nobody may take one for what it should have been
        assert {entry.mtime_ns for entry in store.entries(digest)} >= {2**62 * 10**9, -(2**40) * 10**9}
        assert store.usage().variants <= 2


@pytest.mark.needs_loop_mount
def test_no_room_for_an_attribute_is_no_refusal():
    with host.loop_mounted("ext4", 16, "-b", "4096") as disk:
        store = CasStore(disk / "cas")
        (disk / "source").mkdir()
        (disk / "source/empty").touch()
        os.setxattr(disk / "source/empty", "user.x", bytes(2000))  # does not fit into an inode
        digest = store.put_directory(disk / "source").digest
        (disk / "source/empty").unlink()  # ext4 shares equal blocks of attributes
        (disk / "out").mkdir()
        _fill(disk)
        with pytest.raises(StoreFull):
            store.checkout(digest, disk / "out", mode=CheckoutMode.COPY)
        assert not list((disk / "out").iterdir())
        (disk / "large").unlink()
        assert store.checkout(digest, disk / "out").notes == ()


def _fill(disk):
    """Fill it until it has no block even for an attribute: ext4 keeps some back that a file's content does not get."""
    with (disk / "large").open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        os.fsync(file.fileno())  # what is not written out holds more than it needs in the end
    with pytest.raises(OSError, match="No space left"):
        _make_attributes(disk)


def _make_attributes(disk):
    for index in range(1000):
        path = disk / f"small{index}"
        path.touch()
        os.setxattr(path, "user.x", os.urandom(2000))


def _replace(path):
    path.unlink()
    path.write_text("content")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: (path / "a").unlink(), "'a' is missing"),
        (lambda path: (path / "empty").write_text("x"), "'empty' is another"),
        (lambda path: _replace(path / "c"), "'c' is another"),
        (lambda path: (path / "b").rename(path / "e"), "'b' is missing"),
        (lambda path: (path / "new").mkdir(), "'new' does not belong"),
        (lambda path: ((path / "link").unlink(), (path / "link").symlink_to("b")), "'link' is another"),
        (lambda path: ((path / "sub").rmdir(), (path / "sub").touch()), "'sub' is another"),
        (lambda path: (path / "sub/x").touch(), "'sub/x' does not belong"),
    ],
)
def test_verify_compares_linked_trees_with_their_records(store, source, change, words):
    (source / "link").symlink_to("a")
    (source / "sub").mkdir()
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    path = store.linked_tree(digest)
    assert store.verify().damaged == ()
    change(path)
    (line,) = store.verify().damaged
    assert line.startswith(f"linked tree {digest.removeprefix('sha256:')}: {words}")


def test_verify_takes_the_linked_tree_of_anything_for_sound(store, awkward):
    store.linked_tree(store.put_directory(awkward, ref=Ref(name="x", digest="")).digest)
    assert store.verify().damaged == ()


def test_two_checkouts_that_make_one_variant_at_once_keep_both(store, tmp_path, monkeypatch):
    from volt_cas import variants

    digests = []
    for name, mode in (("plain", 0o644), ("one", 0o600), ("two", 0o600)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
        (tmp_path / name / "file").chmod(mode)
        os.utime(tmp_path / name / "file", (0, 0))
        (tmp_path / name / name).write_text(name)
        digests.append(store.put_directory(tmp_path / name, ref=Ref(name=name, digest="")).digest)
    original, nested = variants.sync_filesystem, []

    def sync(descriptor):
        monkeypatch.setattr(variants, "sync_filesystem", original)
        nested.append(store.linked_tree(digests[2]))
        original(descriptor)

    monkeypatch.setattr(variants, "sync_filesystem", sync)
    first = store.linked_tree(digests[1])
    assert nested
    for root in (first, nested[0]):
        info = (root / "file").stat()
        assert (info.st_mode & 0o777, (root / "file").read_text()) == (0o600, "content")
    assert store.verify().damaged == ()
    assert store.gc(grace=0).variants == 0
