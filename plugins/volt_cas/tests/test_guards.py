"""Whatever is written through a checkout stays there; and what gc looks at."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from volt_cas.store import CasStore
from volt_core import run
from volt_core.contracts import CheckoutMode, Ref
from volt_core.testing import host
from volt_core.testing.syscalls import trace
from volt_core.testing.trees import differences

pytestmark = pytest.mark.usefixtures("engine")


def inodes(store):
    """Return all that the store's inodes have, but for link counts and the ctimes that follow from these."""
    found = {}
    for top in ("objects", "variants", "links"):
        for folder, _, names in os.walk(store.path / top):
            for name in names:
                path = os.path.join(folder, name)
                info = os.lstat(path)
                fields = (info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns)
                xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in _names(path)}
                content = Path(path).read_bytes()[:64] if stat.S_ISREG(info.st_mode) else b""
                found[os.path.relpath(path, store.path)] = (fields, xattrs, content)
    return found


def _names(path):
    return os.listxattr(path, follow_symlinks=False)


def vandalise(top):
    """Do to a tree all that root may do to one."""
    for number, (folder, _, names) in enumerate(os.walk(os.fsencode(top), topdown=False)):
        for name in names:
            path = folder + b"/" + name
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                with open(path, "r+b") as file:
                    file.write(b"spoilt")
                os.truncate(path, os.path.getsize(path) // 2 + 3)
                os.chmod(path, 0o740)
                os.utime(path, ns=(1, 1))
                if os.geteuid() == 0:
                    os.chown(path, 7, 7)
                    os.setxattr(path, "trusted.spoilt", b"1")
            if number % 2:
                os.rename(path, path[:-1] + b"_") if len(name) > 1 else os.unlink(path)
        os.chmod(folder, 0o700)
        os.utime(folder, ns=(1, 1))


@pytest.mark.needs_root
@pytest.mark.parametrize("how", ["copy", "auto", "overlay of a linked tree"])
def test_what_is_written_to_one_checkout_no_other_sees(store, awkward, tmp_path, how):
    digest = store.put_directory(awkward, ref=Ref(name="x", digest="")).digest
    linked = store.linked_tree(digest)
    store.checkout(digest, tmp_path / "other", mode=CheckoutMode.LINK)
    before = inodes(store)
    target = tmp_path / "target"
    if how.startswith("overlay"):
        for name in ("target", "upper", "work"):
            (tmp_path / name).mkdir()
        options = f"lowerdir={linked},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        run.run(["mount", "-t", "overlay", "-o", options, "none", str(target)], timeout=30)
    else:
        store.checkout(digest, target, mode=CheckoutMode(how))
    try:
        vandalise(target)
        assert differences(awkward, target, ignore={"holes"}) != []
    finally:
        if how.startswith("overlay"):
            run.run(["umount", str(target)], timeout=30)
    assert inodes(store) == before
    assert differences(awkward, tmp_path / "other", ignore={"hardlinks"}) == []
    assert store.verify().damaged == ()


@pytest.mark.needs_xfs_reflink
def test_what_is_written_to_a_reflinked_checkout_no_other_sees(awkward):
    with host.loop_mounted("xfs", 512) as disk:
        store = CasStore(disk / "cas")
        digest = store.put_directory(awkward, ref=Ref(name="x", digest="")).digest
        store.linked_tree(digest)
        assert store.checkout(digest, disk / "one").reflinked
        store.checkout(digest, disk / "two")
        before = inodes(store)
        vandalise(disk / "one")
        assert inodes(store) == before
        assert differences(awkward, disk / "two") == []
        assert store.verify().damaged == ()


def test_a_write_through_a_linked_checkout_is_found_by_verify(store, tmp_path):
    """It is by contract read-only; who writes all the same damages the store, and is told whom."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content")
    digest = store.put_directory(source, ref=Ref(name="images/x:1", digest="")).digest
    store.checkout(digest, tmp_path / "out", mode=CheckoutMode.LINK)
    (tmp_path / "out/file").write_text("CONTENT")
    (line,) = store.verify().damaged
    assert "'file' in images/x:1" in line


@pytest.mark.needs_strace
def test_gc_reads_nothing_outside_the_store_but_mount_tables(store, awkward, memory_path):
    def prepare():
        store.put_directory(awkward, ref=Ref(name="x", digest=""))
        source = memory_path / "source"
        source.mkdir(exist_ok=True)
        (source / "file").write_text("content")
        store.linked_tree(store.put_directory(source).digest)

    prepare()
    store.gc(grace=0)  # imports what it needs
    prepare()
    strays = set()
    for call in trace(lambda: store.gc(grace=0), ["%file", "openat2", "open_by_handle_at"]):
        found = re.match(r"\w+\((?:(?:AT_FDCWD|\d+)<([^>]*)>, )?\"([^\"]*)\"", call.text)
        assert found, call
        path = os.path.normpath(os.path.join(found[1] or "/", found[2]))
        if not path.startswith(str(store.path)):
            strays.add(path)
    allowed = re.compile(r"/proc(/(self|\d+)/(ns/mnt|mountinfo|fdinfo/\d+|fd/\d+(/.*)?|[ug]id_map))?|/dev/null")
    assert {path for path in strays if not allowed.fullmatch(path)} == set()
    assert "/proc/self/mountinfo" in strays
