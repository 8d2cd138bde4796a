"""Stores in difficult places: no room, nothing may be written, somebody else's, moved, of a newer Volt."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from volt_cas.commands.app import app
from volt_cas.store import CasStore
from volt_core import run
from volt_core.cli.exits import run_app
from volt_core.contracts import CheckoutMode, Ref
from volt_core.errors import StateTooNew, StoreError, StoreFull
from volt_core.testing import host
from volt_core.testing.trees import differences

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def tmpfs(tmp_path):
    """Mount an empty file system of 8 MiB in memory, which is soon full."""
    path = tmp_path / "tmpfs"
    path.mkdir()
    run.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(path)], timeout=30)
    yield path
    run.run(["umount", str(path)], timeout=30)


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "sub/file").write_text("content")
    (top / "other").write_text("content")
    (top / "other").chmod(0o755)
    return top


def fill(path):
    """Write a file until there is no room."""
    with path.open("wb") as file, contextlib.suppress(OSError):
        while file.raw.write(bytes(65536)):
            pass
    with path.open("ab") as file, contextlib.suppress(OSError):
        while file.raw.write(bytes(512)):
            pass


@pytest.mark.needs_loop_mount
def test_a_full_disk_is_an_error_that_leaves_the_store_as_it_was(tmp_path, held):
    (tmp_path / "big").mkdir()
    for number in range(8):
        (tmp_path / "big" / str(number)).write_bytes(os.urandom(4 << 20))
    (tmp_path / "small").mkdir()
    (tmp_path / "small/file").write_bytes(os.urandom(3 << 20))
    with host.loop_mounted("ext4", 24) as disk:
        store = CasStore(disk / "cas")
        digest = store.put_directory(tmp_path / "small", ref=Ref(name="x", digest="")).digest
        before = held(store.path)
        with pytest.raises(StoreFull, match="volt cas gc"):
            store.put_directory(tmp_path / "big", ref=Ref(name="x", digest=""))
        assert held(store.path) == before
        assert store.find_ref("x").digest == digest
        with (tmp_path / "big.tar").open("wb") as stream:
            other = CasStore(tmp_path / "cas")
            other.export_tar(other.put_directory(tmp_path / "big").digest, stream)
        with (tmp_path / "big.tar").open("rb") as stream, pytest.raises(StoreFull):
            store.put_tar(stream, ref=Ref(name="x", digest=""))
        assert held(store.path) == before
        with pytest.raises(StoreFull):  # noqa: PT012
            for number in range(10):
                store.checkout(digest, disk / f"out{number}", mode=CheckoutMode.COPY)
        made = sorted(disk.glob("out*"))
        assert len(made) < 10
        assert all(path.joinpath("file").stat().st_size == 3 << 20 for path in made)
        assert store.verify().damaged == ()
        assert store.gc(grace=0).objects == 0


@pytest.mark.needs_root
def test_a_store_without_room_is_read_collected_and_its_refs_are_deleted(tmpfs, source, tmp_path, held):
    store = CasStore(tmpfs / "cas")
    (source / "large").write_bytes(os.urandom(2 << 20))
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    (source / "large").unlink()
    small = store.put_directory(source, ref=Ref(name="small", digest="")).digest
    store.linked_tree(digest)
    fill(tmpfs / "filling")
    before = held(store.path)
    for act in (
        lambda: store.set_ref(Ref(name="y", digest=digest)),
        lambda: store.set_ref(Ref(name="x", digest=small)),
        lambda: store.put_tar(tar_of(source)),
        lambda: store.checkout(digest, tmpfs / "out"),
    ):
        with pytest.raises(StoreFull, match="volt cas gc"):
            act()
        assert not (tmpfs / "out").exists()
    assert held(store.path) == before
    store.checkout(digest, tmp_path / "out")
    assert store.verify().damaged == ()
    # Whoever wants room must get it: without a place for its log, a ref goes altogether.
    store.delete_ref("x")
    assert store.find_ref("x") is None
    assert store.gc(grace=0).objects == 1
    store.set_ref(Ref(name="x", digest=small))
    assert store.put_directory(source, ref=Ref(name="x", digest="")).new_objects == 0
    assert store.verify().damaged == ()


def tar_of(source):
    (source / "new").write_bytes(b"new" * 100_000)
    try:
        return io.BytesIO(run.run(["tar", "-C", str(source), "-c", "."], timeout=30).stdout)
    finally:
        (source / "new").unlink()


@pytest.mark.needs_root
def test_nothing_that_writes_works_on_a_read_only_file_system(store, source, tmp_path, what_writes):
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    store.put_directory(source / "sub")  # something for gc
    run.run(["mount", "--bind", str(store.path), str(store.path)], timeout=30)
    try:
        run.run(["mount", "-o", "remount,bind,ro", str(store.path)], timeout=30)
        frozen = CasStore(store.path)
        for act in what_writes(frozen, source, digest, tmp_path / "link"):
            with pytest.raises(StoreError, match="Read-only file system"):
                act()
        assert not (tmp_path / "link").exists()
        assert frozen.verify().damaged == ()
        assert frozen.usage().objects == 1
        frozen.checkout(digest, tmp_path / "out")
    finally:
        run.run(["umount", str(store.path)], timeout=30)
    assert differences(source, tmp_path / "out") == []


@pytest.mark.needs_root
@pytest.mark.needs_ordinary_user
def test_a_store_that_may_not_be_read_is_an_error_of_every_command(as_user, user_directory):
    root = user_directory / "root"
    (user_directory / "tree").mkdir()
    (user_directory / "tree/file").write_text("x")
    assert run_app(["--root", str(root), "cas", "build", str(user_directory / "tree"), "--ref", "x"]) == 0
    root.chmod(0o755)
    for words in command_lines(user_directory):
        argv = [sys.executable, "-m", "volt_core", "--root", str(root), "cas", *words]
        done = as_user(argv, ok=(2, 3, 6))
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.status == 6, (words, done.stderr)
        assert b"Permission denied" in done.stderr


MOVES = {
    "cp -a": ["cp", "-a"],
    "cp -r, without hard links, owners and times": ["cp", "-r"],
}


@pytest.mark.needs_root
@pytest.mark.parametrize("how", MOVES)
def test_a_store_moved_to_another_file_system_is_as_good(store, source, tmpfs, how):
    """The cache of its sources knows inodes and devices, which other files have now."""
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    store.linked_tree(digest)
    os.utime(source / "sub/file", ns=(0, 10**18))
    os.utime(source / "other", ns=(0, 10**18))
    before = store.put_directory(source, ref=Ref(name="y", digest="")).digest
    run.run([*MOVES[how], str(store.path), str(tmpfs / "cas")], timeout=60)
    run.run([*MOVES[how], str(source), str(tmpfs / "source")], timeout=60)
    shutil.rmtree(source)
    # Other content of the same name and size, with the same times, where the cache knows that path.
    shutil.copytree(tmpfs / "source", source)
    (source / "other").write_text("CONTENT")
    os.utime(source / "other", ns=(0, 10**18))
    moved = CasStore(tmpfs / "cas")
    changed = moved.put_directory(source, ref=Ref(name="changed", digest="")).digest
    assert moved.read_file(changed, b"other") == b"CONTENT"
    assert moved.read_file(before, b"other") == b"content"
    assert differences(source, moved.linked_tree(changed), ignore={"hardlinks"}) == []
    moved.gc(grace=0)
    damaged = moved.verify().damaged
    # The links of a linked tree are copies after the second way of moving: told, and no harm.
    assert [line for line in damaged if not line.startswith("linked tree")] == []
    assert (damaged == ()) == (how == "cp -a")


def command_lines(folder: Path) -> Iterator[list[str]]:
    """Yield a command line of each command of ``volt cas``, with something for each argument that it needs."""
    group: Any = typer.main.get_command(app)
    for name in group.list_commands(None):
        words = [name]
        for parameter in group.get_command(None, name).params:
            if parameter.param_type_name == "argument" and parameter.required:
                is_folder = name == "build" and parameter.name == "directory"
                new = folder / "new" if "dir" in (parameter.metavar or "").lower() else "x"
                words.append(str(folder / "tree") if is_folder else str(new))
        yield words


def test_every_command_refuses_a_store_of_a_newer_format(tmp_path, capsys):
    (tmp_path / "tree").mkdir()
    root = ["--root", str(tmp_path / "root")]
    assert run_app([*root, "cas", "build", str(tmp_path / "tree"), "--ref", "x"]) == 0
    (path,) = (tmp_path / "root").rglob("format.json")
    path.write_text('{"format": 2, "hash": "sha256", "new": true}')
    lines = list(command_lines(tmp_path))
    assert len(lines) >= 7
    for words in lines:
        capsys.readouterr()
        assert run_app([*root, "cas", *words]) == StateTooNew.exit_code, words
        assert "upgrade" in capsys.readouterr().err, words
    assert not (tmp_path / "new").exists()
