"""Stores of another user, and stores in which there is more or less than Volt put there."""

from __future__ import annotations

import io
import os
import shutil

import pytest

from volt_cas.layout import fan_out
from volt_core.contracts import Ref
from volt_core.errors import StateCorrupt, StoreError


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    top.mkdir()
    (top / "file").write_text("content")
    return top


@pytest.fixture
def digest(store, source):
    return store.put_directory(source, ref=Ref(name="x", digest="")).digest


@pytest.mark.needs_root
def test_a_store_of_another_user_is_read_and_not_written(store, source, digest, tmp_path, held, what_writes):
    os.chown(store.path, 12345, 12345)
    before = held(store.path)
    for act in what_writes(store, source, digest, tmp_path / "link"):
        with pytest.raises(StoreError, match=r"belongs to user 12345.*as that user"):
            act()
    assert held(store.path) == before
    assert not (tmp_path / "link").exists()
    assert store.read_file(digest, b"file") == b"content"
    assert [entry.path for entry in store.entries(digest)] == [b"", b"file"]
    assert store.checkout(digest, tmp_path / "out").files == 1
    assert store.verify().damaged == ()
    assert store.gc(dry_run=True, grace=0).objects == 0
    assert store.usage().refs == 1


@pytest.mark.parametrize("folder", ["cache", "tmp", "links", "variants"])
def test_a_folder_that_was_removed_is_made_again(store, source, digest, folder):
    for act in (lambda: store.gc(grace=0), lambda: store.put_directory(source), lambda: store.linked_tree(digest)):
        shutil.rmtree(store.path / folder)
        assert store.verify().damaged == ()
        assert store.usage().objects == 1
        act()
    assert store.read_file(digest, b"file") == b"content"


def test_strays_are_passed_over(store, source, digest):
    store.linked_tree(digest)
    object_path = next(path for path in (store.path / "objects").rglob("*") if path.is_file())
    strays = [object_path.with_name(".nfs0001"), object_path.with_suffix(".orig"), store.path / "objects/README"]
    strays += [store.path / "links/notes", store.path / "variants" / object_path.parent.name / object_path.name]
    for path in strays:
        path.parent.mkdir(exist_ok=True)
        path.write_text("stray")
    for folder in ("objects/lost+found", "trees/zz", "trees/00/zz", "links/lost+found"):
        (store.path / folder).mkdir(parents=True)
    before = store.usage()
    assert (before.objects, before.variants, before.links) == (1, 0, 1)
    assert store.verify().damaged == ()
    assert store.gc(grace=0).removed == ()
    assert all(path.exists() for path in strays)


def test_what_cannot_be_read_is_named(store, source, digest):
    record = store.path / "trees" / fan_out(bytes.fromhex(next(store.entries(digest)).digest.removeprefix("sha256:")))
    record.unlink()
    record.mkdir()
    lines = store.verify().damaged
    assert any("cannot be read: Is a directory" in line for line in lines)
    assert any("used by x" in line for line in lines)
    for act in (
        lambda: list(store.entries(digest)),
        lambda: store.read_file(digest, b"file"),
        lambda: store.export_tar(digest, io.BytesIO()),
        lambda: store.gc(grace=0),
    ):
        with pytest.raises(StoreError, match="Is a directory"):
            act()
    assert store.usage().referenced_bytes == 0


def test_a_copied_ref_file_is_no_second_ref(store, digest):
    shutil.copy(store.path / "refs/x.json", store.path / "refs/y.json")
    assert [ref.name for ref in store.refs()] == ["x"]
    with pytest.raises(StateCorrupt, match="it is that of 'x'"):
        store.find_ref("y")
    (line,) = store.verify().damaged
    assert "y.json" in line
