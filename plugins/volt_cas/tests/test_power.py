"""The power goes: what the disk has then is a whole store.

The disk is the image of a loop device: a copy of it has what the file system has written out, and nothing of what was
still in memory. Mounted, it is what the next boot finds.
"""

from __future__ import annotations

import contextlib
import filecmp
import itertools
import shutil
import tempfile
from pathlib import Path

import pytest

from volt_cas.store import CasStore
from volt_core import run
from volt_core.contracts import Ref
from volt_core.testing import host
from volt_core.testing.syscalls import killed_everywhere
from volt_core.testing.trees import differences

pytestmark = [pytest.mark.needs_loop_mount, pytest.mark.needs_strace, pytest.mark.usefixtures("engine")]


@contextlib.contextmanager
def after_power_loss(disk, memory_path):
    """Mount what a disk would have if its power were gone now."""
    image = disk.parent / "image"
    with tempfile.TemporaryDirectory(prefix="volt-power-", dir=memory_path) as folder:
        copy, target = Path(folder, "copy"), Path(folder, "mnt")
        target.mkdir()
        shutil.copy(image, copy)
        # Something may have been written in the middle of the copy.
        while not filecmp.cmp(image, copy, shallow=False):
            shutil.copy(image, copy)
        run.run(["mount", "-o", "loop", str(copy), str(target)], timeout=30)
        try:
            yield target
        finally:
            run.run(["umount", str(target)], timeout=30)


@pytest.fixture
def source(memory_path):
    top = memory_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "a").write_text("a" * 5000)
    (top / "sub/b").write_text("b" * 5000)
    return top


def cut_everywhere(source, disk, **options):
    """Put a tree into stores on the disk, and yield each as a power cut would leave it, and as it is in memory."""
    numbers = itertools.count()
    (disk / "other").mkdir()
    (disk / "other/kept").write_text("kept" * 2000)

    def prepare():
        nonlocal store
        store = CasStore(disk / f"cas{next(numbers)}")
        store.put_directory(disk / "other", ref=Ref(name="kept", digest=""))

    def put():
        store.put_directory(source, ref=Ref(name="x", digest=""))
        store.linked_tree(store.find_ref("x").digest)

    store = None
    for call in killed_everywhere(put, prepare, **options):
        if call.name in ("linkat", "link", "rename", "renameat", "renameat2"):
            with after_power_loss(disk, source.parent) as there:
                yield CasStore(there / store.path.name), store


def test_what_the_disk_has_is_a_whole_store_whenever_the_power_goes(source):
    seen = 0
    with host.loop_mounted("ext4", 24) as disk:
        for found, store in cut_everywhere(source, disk):
            assert found.verify().damaged == ()
            assert found.read_file(found.find_ref("kept").digest, b"kept") == b"kept" * 2000
            if (ref := found.find_ref("x")) is not None:
                seen += 1
                assert differences(source, found.linked_tree(ref.digest), ignore={"hardlinks"}) == []
            elif store.find_ref("x") is not None:
                raise AssertionError("a ref that had its name was not durable")
            found.gc(grace=0)
            found.put_directory(source, ref=Ref(name="x", digest=""))
            assert found.verify().damaged == ()
    assert seen


def test_without_a_sync_it_would_not_be(source):
    """Of the test above: it can tell."""
    with host.loop_mounted("ext4", 24) as disk:
        assert any(found.verify().damaged for found, _ in cut_everywhere(source, disk, without=["syncfs"]))
