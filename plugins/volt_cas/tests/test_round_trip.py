"""What goes in comes out: directories and archives, every field."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from volt_cas.store import CasStore
from volt_core import run
from volt_core.contracts import CheckoutMode, Ref
from volt_core.errors import ObjectMissing
from volt_core.testing import host
from volt_core.testing.trees import differences

_TAR = ("--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner")
AS_USER = """
import sys
from pathlib import Path
from volt_cas.store import CasStore
from volt_core.contracts import CheckoutMode
from volt_core.testing.trees import awkward_tree, differences

awkward_tree(Path("tree"))
store = CasStore(Path("cas"))
digest = store.put_directory(Path("tree")).digest
for mode in (CheckoutMode.AUTO, CheckoutMode.COPY, CheckoutMode.LINK):
    result = store.checkout(digest, Path(mode), mode=mode)
    assert result.notes == (), result.notes
    ignored = {"hardlinks"} if mode is CheckoutMode.LINK else set()
    found = differences(Path("tree"), Path(mode), ignore=ignored)
    assert not found, found
assert store.verify().damaged == ()
assert store.linked_tree(digest).is_dir()
"""

IN_NAMESPACE = """
import ctypes, os, sys
from pathlib import Path
# The user that the child becomes may not read this repository.
import volt_cas.behind, volt_cas.checkout, volt_cas.tar_in, volt_cas.writer
from volt_cas.store import CasStore

wait, tell = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0  # CLONE_NEWUSER
    os.write(tell[1], b"x")
    os.read(wait[0], 1)
    os.setgroups([])
    os.setgid(0)
    os.setuid(0)
    store = CasStore(Path("cas"))
    with open("tree.tar", "rb") as stream:
        result = store.checkout(store.put_tar(stream).digest, Path("out"))
    info = os.stat("out/su")
    print(info.st_uid, info.st_gid, oct(info.st_mode & 0o7777), *result.notes)
    sys.stdout.flush()
    os._exit(0)
os.read(tell[0], 1)
for kind in ("uid", "gid"):
    Path(f"/proc/{child}/{kind}_map").write_text("0 200000 1\\n1 100001 50000\\n60000 160000 10\\n")
os.write(wait[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("mode", [CheckoutMode.COPY, CheckoutMode.AUTO])
def test_a_directory_comes_back_equal(store, awkward, tmp_path, mode):
    result = store.put_directory(awkward, ref=Ref(name="x", digest=""))
    checked = store.checkout(result.digest, tmp_path / "out", mode=mode)
    assert differences(awkward, tmp_path / "out") == []
    assert (checked.files, checked.bytes) == (result.files, result.bytes)
    assert result.notes == ("Left out sockets: 1, the first at 'socket'",)


@pytest.mark.usefixtures("engine")
def test_a_linked_checkout_differs_in_hard_links_alone(store, awkward, tmp_path):
    digest = store.put_directory(awkward).digest
    result = store.checkout(digest, tmp_path / "out", mode=CheckoutMode.LINK)
    assert differences(awkward, tmp_path / "out", ignore={"hardlinks"}) == []
    assert 0 < result.linked < result.files


@pytest.mark.usefixtures("engine")
@pytest.mark.needs_xfs_reflink
def test_a_reflinked_checkout_is_equal_and_takes_no_room(awkward):
    with host.loop_mounted("xfs", 512) as disk:
        store = CasStore(disk / "cas")
        digest = store.put_directory(awkward).digest
        os.sync()
        before = store.usage().free_bytes
        result = store.checkout(digest, disk / "out")
        assert result.reflinked == result.files - 5  # three empty ones, and two further names of one inode
        os.sync()
        assert before - store.usage().free_bytes < 1 << 20
        assert differences(awkward, disk / "out") == []
        with (disk / "out/large").open("r+b") as file:
            file.write(b"mine")
        assert store.verify().damaged == ()


@pytest.mark.needs_ordinary_user
def test_an_ordinary_user_gets_the_own_tree_back(as_user):
    as_user([sys.executable, "-c", AS_USER])


@pytest.mark.needs_root
@pytest.mark.needs_ordinary_user
def test_without_root_owners_and_devices_are_left_out_with_one_note(store, awkward, as_user, user_directory):
    archive = user_directory / "tree.tar"
    with archive.open("wb") as stream:
        store.export_tar(store.put_directory(awkward).digest, stream)
    script = """
from pathlib import Path
from volt_cas.store import CasStore
from volt_core.contracts import CheckoutMode

store = CasStore(Path("cas"))
with open("tree.tar", "rb") as stream:
    put = store.put_tar(stream)
assert len(put.notes) == 1 and "2 device nodes" in put.notes[0], put.notes
for mode in (CheckoutMode.AUTO, CheckoutMode.COPY, CheckoutMode.LINK):
    (note,) = store.checkout(put.digest, Path(mode), mode=mode).notes
    assert "2 device nodes" in note and "owners" in note and "security.capability" in note, note
    assert not Path(mode, "null").exists()
    # With another owner than the recorded one the bit would lend the user's own rights to everybody.
    assert Path(mode, "set-uid").stat().st_mode & 0o7777 == 0o755
assert {entry.path for entry in store.entries(put.digest)} >= {b"null", b"disk"}
print(put.digest)
"""
    done = as_user([sys.executable, "-c", script])
    assert done.stdout.decode().strip() == store.put_directory(awkward).digest


def test_an_export_is_what_tar_understands(store, awkward, tmp_path):
    digest = store.put_directory(awkward).digest
    with (tmp_path / "out.tar").open("wb") as stream:
        store.export_tar(digest, stream)
    (tmp_path / "out").mkdir()
    run.run(["tar", *_TAR, "-p", "-C", str(tmp_path / "out"), "-xf", str(tmp_path / "out.tar")], timeout=60)
    ignored = {"holes"} | (set() if os.geteuid() == 0 else {"mode"})
    assert differences(awkward, tmp_path / "out", ignore=ignored) == []
    with (tmp_path / "out.tar").open("rb") as stream:
        assert store.put_tar(stream).digest == digest


def test_short_default_acls_and_odd_names_of_attributes_survive_archives(store, tmp_path):
    host.require("user_xattrs")
    source = tmp_path / "source"
    source.mkdir()
    acl = "0200000001000700ffffffff04000500ffffffff20000500ffffffff"
    os.setxattr(source, "system.posix_acl_default", bytes.fromhex(acl))
    (source / "file").touch()
    for name in ("a=b", "100%", "%3D", "%253D=%25", "="):
        os.setxattr(source / "file", f"user.{name}", b"=")
    digest = store.put_directory(source).digest
    run.run(["tar", "--format=pax", *_TAR, "-C", str(source), "-cf", str(tmp_path / "in.tar"), "."], timeout=60)
    with (tmp_path / "out.tar").open("wb") as stream:
        store.export_tar(digest, stream)
    for name in ("in.tar", "out.tar"):
        with (tmp_path / name).open("rb") as stream:
            assert store.put_tar(stream).digest == digest, name
    (tmp_path / "out").mkdir()
    run.run(["tar", *_TAR, "-p", "-C", str(tmp_path / "out"), "-xf", str(tmp_path / "out.tar")], timeout=60)
    assert differences(source, tmp_path / "out", ignore={"holes"}) == []


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_an_archive_of_tar_is_the_same_tree(store, awkward, tmp_path, version):
    archive = tmp_path / "in.tar"
    options = ["--format=pax", "--sparse", f"--sparse-version={version}", "--sort=name"]
    run.run(["tar", *options, *_TAR, "-C", str(awkward), "-cf", str(archive), "."], timeout=60)
    with archive.open("rb") as stream:
        result = store.put_tar(stream)
    assert result.digest == store.put_directory(awkward).digest
    store.checkout(result.digest, tmp_path / "out")
    assert differences(awkward, tmp_path / "out") == []


@pytest.mark.parametrize("format_", ["gnu", "oldgnu", "ustar", "v7"])
def test_older_formats_keep_what_they_can(store, awkward, tmp_path, format_):
    archive, tree = tmp_path / "in.tar", awkward
    lossy = {"mtime_ns", "xattrs"}
    options = ["--sparse"] if "gnu" in format_ else []
    if not options:
        # These have no long names, no huge numbers and no times before 1970.
        tree = tmp_path / "small"
        tree.mkdir()
        (tree / "file").write_bytes(b"x" * 3000)
        (tree / "dir").mkdir()
        (tree / "dir/link").symlink_to("../file")
        (tree / "hard").hardlink_to(tree / "file")
    run.run(["tar", f"--format={format_}", *options, "-C", str(tree), "-cf", str(archive), "."], timeout=60)
    with archive.open("rb") as stream:
        digest = store.put_tar(stream).digest
    store.checkout(digest, tmp_path / "out")
    assert differences(tree, tmp_path / "out", ignore=lossy) == []


@pytest.mark.needs_root
@pytest.mark.needs_mmdebstrap
def test_a_debian_comes_back_equal(store, debian_tar, tmp_path):
    (tmp_path / "by-tar").mkdir()
    run.run(["tar", *_TAR, "-C", str(tmp_path / "by-tar"), "-xf", str(debian_tar)], timeout=120)
    with debian_tar.open("rb") as stream:
        put = store.put_tar(stream, ref=Ref(name="images/debian:test", digest=""))
    store.checkout(put.digest, tmp_path / "by-volt")
    assert differences(tmp_path / "by-tar", tmp_path / "by-volt") == []
    again = store.put_directory(tmp_path / "by-volt")
    assert (again.digest, again.new_objects) == (put.digest, 0)
    linked = store.linked_tree(put.digest)
    assert differences(tmp_path / "by-tar", linked, ignore={"hardlinks"}) == []
    assert store.verify().damaged == ()


@pytest.mark.usefixtures("engine")
def test_equal_trees_have_equal_digests_whatever_order_made_them(store, tmp_path):
    names = [f"{number:02}" for number in range(20)]
    for label, order in (("a", names), ("b", names[::-1])):
        top = tmp_path / label
        for folder in ("x", "y") if label == "a" else ("y", "x"):
            (top / folder).mkdir(parents=True)
        for name in order:
            (top / "x" / name).write_text(name)
            (top / "y" / name).hardlink_to(top / "x" / name)
            os.utime(top / "x" / name, ns=(0, 7))
        for folder in (top / "x", top / "y", top):
            os.utime(folder, ns=(0, 9))
    assert store.put_directory(tmp_path / "a").digest == store.put_directory(tmp_path / "b").digest
    # Two files with equal content are another tree than two names of one file ...
    twin = tmp_path / "b/y/00"
    twin.unlink()
    twin.write_text("00")
    os.utime(twin, ns=(0, 7))
    os.utime(tmp_path / "b/y", ns=(0, 9))
    changed = store.put_directory(tmp_path / "b")
    before = store.put_directory(tmp_path / "a")
    assert changed.digest != before.digest
    # ... but their directories have the same records.
    assert [e.digest for e in store.entries(changed.digest, recursive=False)] == [
        e.digest for e in store.entries(before.digest, recursive=False)
    ]


@pytest.mark.usefixtures("engine")
def test_a_path_longer_than_the_kernel_takes_comes_back(store, tmp_path):
    top = tmp_path / "deep"
    top.mkdir()
    folder = os.open(top, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=folder)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    for name in ("one", "two"):
        with open(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=folder), "w") as file:
            file.write(name)
    os.link("one", "three", src_dir_fd=folder, dst_dir_fd=folder)
    os.close(folder)
    digest = store.put_directory(top, ref=Ref(name="x", digest="")).digest
    for mode in (CheckoutMode.AUTO, CheckoutMode.COPY, CheckoutMode.LINK):
        store.checkout(digest, tmp_path / mode, mode=mode)
    store.linked_tree(digest)
    assert store.verify().damaged == ()
    archive = io.BytesIO()
    store.export_tar(digest, archive)
    archive.seek(0)
    assert store.put_tar(archive).digest == digest
    for mode in (CheckoutMode.COPY, CheckoutMode.AUTO):
        assert store.put_directory(tmp_path / mode).digest == digest
    store.delete_ref("x")
    assert store.gc(grace=0).trees == 33
    assert store.usage().links == 0


@pytest.mark.usefixtures("engine")
def test_a_default_acl_above_does_not_reach_the_checkout(store, tmp_path):
    host.require("user_xattrs")
    (tmp_path / "source/dir").mkdir(parents=True)
    (tmp_path / "source/dir/file").write_text("x")
    (tmp_path / "target").mkdir()
    acl = "0200000001000700ffffffff0200070031d4000004000500ffffffff10000700ffffffff20000500ffffffff"
    os.setxattr(tmp_path / "target", "system.posix_acl_default", bytes.fromhex(acl))
    store.checkout(store.put_directory(tmp_path / "source").digest, tmp_path / "target/out")
    assert differences(tmp_path / "source", tmp_path / "target/out") == []
    assert Path(tmp_path, "target/out/dir/file").exists()


@pytest.mark.usefixtures("engine")
def test_an_existing_directory_is_as_before_when_a_checkout_fails(store, tmp_path):
    host.require("user_xattrs")
    (tmp_path / "source/dir").mkdir(parents=True)
    (tmp_path / "source/dir/file").write_text("x")
    digest = store.put_directory(tmp_path / "source").digest
    for path in (store.path / "objects").rglob("??*"):
        if path.is_file():
            path.unlink()
    target = tmp_path / "target"
    target.mkdir(mode=0o751)
    acl = "0200000001000700ffffffff0200070031d4000004000500ffffffff10000700ffffffff20000500ffffffff"
    for name in ("access", "default"):
        os.setxattr(target, f"system.posix_acl_{name}", bytes.fromhex(acl))
    os.setxattr(target, "user.x", b"1")
    os.utime(target, ns=(0, 10**18))
    (tmp_path / "expected").mkdir()
    run.run(["cp", "-a", str(target), str(tmp_path / "expected")], timeout=30)
    with pytest.raises(ObjectMissing):
        store.checkout(digest, target)
    assert differences(tmp_path / "expected/target", target) == []


@pytest.mark.needs_root
@pytest.mark.needs_ordinary_user
@pytest.mark.needs_user_namespaces
@pytest.mark.parametrize(
    ("owner", "printed"),
    [(33, "33 33 0o4755"), (60009, "60009 60009 0o4755"), (55000, "0 0 0o755 Left out the owners of 1 entries: ")],
)
def test_all_ranges_of_a_user_namespace_are_owners(user_directory, owner, printed):
    user_directory.chmod(0o777)
    with tarfile.open(user_directory / "tree.tar", "w") as archive:
        info = tarfile.TarInfo("su")
        info.uid = info.gid = owner
        info.mode = 0o4755
        archive.addfile(info)
    (user_directory / "tree.tar").chmod(0o644)
    done = run.run([sys.executable, "-c", IN_NAMESPACE], cwd=user_directory, timeout=60)
    assert done.stdout.decode().startswith(printed)
