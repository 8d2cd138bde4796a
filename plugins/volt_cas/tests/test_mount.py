"""``volt cas mount`` and ``umount``: nobody writes through it, and gc keeps what is mounted."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from volt_cas import gc
from volt_cas.binding import mount_tree, ref_of, unmount_tree
from volt_cas.mounts import root_at
from volt_core import run
from volt_core.contracts import Ref
from volt_core.errors import StoreError
from volt_core.testing import host
from volt_core.testing.trees import differences


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "sub/file").write_text("content")
    (top / "tool").write_text("#!/bin/sh\nid -u\n")
    (top / "tool").chmod(0o4755)
    return top


@pytest.fixture
def target(tmp_path):
    """A directory to mount at; whatever is mounted there in the end goes."""
    host.require("loop_mount")
    path = tmp_path / "target"
    path.mkdir()
    yield path
    while root_at(path):
        run.run(["umount", str(path)], timeout=30)


@pytest.fixture
def kept(shop, source):
    return shop.put_directory(source, ref=Ref(name="a", digest="")).digest


def test_a_mounted_tree_is_the_tree_and_nobody_writes_to_it(call, shop, kept, source, target):
    assert "read-only" in call("mount", "a", target)[1]
    assert differences(source, target) == []
    writers = [
        lambda: (target / "sub/file").open("r+b"),
        lambda: (target / "new").touch(),
        lambda: (target / "sub/file").chmod(0o600),
        lambda: (target / "sub/file").unlink(),
        lambda: os.utime(target / "sub/file"),
        lambda: os.truncate(target / "sub/file", 0),
        lambda: os.setxattr(target / "sub/file", "user.a", b"b"),
        lambda: os.link(target / "sub/file", target / "more"),
    ]
    for write in writers:
        with pytest.raises(OSError, match="Read-only file system"):
            write()
    assert shop.verify().damaged == ()
    call("umount", target)
    assert list(target.iterdir()) == []
    assert [ref.name for ref in shop.refs()] == ["a"]


def test_a_mount_has_no_set_uid_no_devices_and_shares_nothing_with_the_store(call, shop, kept, target):
    call("mount", kept, target)
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    (line,) = (line for line in lines if line.split()[4] == str(target))
    assert {"ro", "nosuid", "nodev"} <= set(line.split()[5].split(","))
    assert "shared:" not in line
    run.run(["mount", "-t", "tmpfs", "none", str(target / "sub")], timeout=30)
    try:
        assert not root_at(shop.linked_tree(kept) / "sub")
        assert (shop.linked_tree(kept) / "sub/file").exists()
    finally:
        run.run(["umount", str(target / "sub")], timeout=30)


def test_gc_keeps_what_is_mounted_and_lets_go_when_it_no_longer_is(shop, kept, source, target, monkeypatch):
    monkeypatch.setattr(gc, "_MOUNTING", 0)
    mounted = mount_tree(shop, kept, target)
    shop.delete_ref("a")
    assert shop.gc(grace=0).objects == 0
    assert differences(source, target) == []
    run.run(["umount", str(target)], timeout=30)
    assert any(mounted.ref in line for line in shop.gc(grace=0, dry_run=True).removed)
    assert shop.find_ref(mounted.ref)
    assert shop.gc(grace=0).objects == 2
    assert list(shop.refs()) == []


def test_gc_spares_a_mount_that_is_being_made(shop, kept):
    shop.set_ref(Ref(name="use/mount/0123", digest=kept))
    shop.delete_ref("a")
    assert shop.gc(grace=0).objects == 0
    assert shop.find_ref("use/mount/0123")


def test_a_mount_that_fails_leaves_no_ref(shop, kept, target, monkeypatch):
    from volt_cas import binding

    def fail(source, where):
        raise OSError(errno.EPERM, "refused")

    monkeypatch.setattr(binding, "_bind", fail)
    with pytest.raises(OSError, match="refused"):
        mount_tree(shop, kept, target)
    assert [ref.name for ref in shop.refs()] == ["a"]


def test_what_somebody_else_unmounted_is_let_go(call, shop, kept, target):
    call("mount", "a", target)
    run.run(["umount", str(target)], timeout=30)
    call("mount", "a", target)  # the ref that was left is no obstacle
    run.run(["umount", str(target)], timeout=30)
    assert json.loads(call("umount", target, "--json")[0])["ref"] == ref_of(target)
    assert [ref.name for ref in shop.refs()] == ["a"]


def test_what_somebody_mounted_in_its_place_stays(shop, kept, target):
    mount_tree(shop, kept, target)
    run.run(["umount", str(target)], timeout=30)
    run.run(["mount", "-t", "tmpfs", "none", str(target)], timeout=30)
    unmount_tree(shop, target)
    assert root_at(target) == b"/"
    assert [ref.name for ref in shop.refs()] == ["a"]


def test_a_path_through_a_symlink_is_the_same_mount(shop, kept, target, tmp_path):
    (tmp_path / "link").symlink_to(target)
    mount_tree(shop, kept, tmp_path / "link")
    unmount_tree(shop, target)
    assert not root_at(target)


def test_mistakes_are_told(call, shop, kept, target, tmp_path):
    assert "is no directory" in call("mount", "a", tmp_path / "nothing", ok=3)[1]
    assert "no ref 'b'" in call("mount", "b", target, ok=3)[1]
    assert "No tree of the store" in call("umount", target, ok=3)[1]
    call("mount", "a", target)
    assert "already" in call("mount", "a", target, ok=4)[1]
    with (target / "sub/file").open():
        assert "in use" in call("umount", target, ok=4)[1]
        assert root_at(target)
        assert shop.find_ref(ref_of(target))


def test_without_root_it_says_what_to_do_instead(shop, kept, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for act in (lambda: mount_tree(shop, kept, tmp_path), lambda: unmount_tree(shop, tmp_path)):
        with pytest.raises(StoreError, match="only root") as caught:
            act()
        assert "sudo" in caught.value.hint
