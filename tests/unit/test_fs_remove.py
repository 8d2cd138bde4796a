"""Removing trees that do not want to be removed."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from volt_core import fs, run
from volt_core.testing.pytest_plugin import AsUser


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    return path


def test_all_kinds_of_entries_go_and_the_neighbours_stay(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (tree / "to-directory").symlink_to(outside)
    (tree / "to-file").symlink_to(outside / "precious")
    (tree / "loop").symlink_to("loop")
    (tree / "up").symlink_to("..")
    (tree / "sub").mkdir()
    os.link(outside / "precious", tree / "sub" / "hardlink")
    os.mkfifo(tree / "sub" / "fifo")
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff\n -rf")).mkdir()
    fs.remove_tree(tree)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside"]
    assert (outside / "precious").read_text() == "x"


@pytest.mark.parametrize("kind", ["file", "symlink", "nothing", "no parent"])
def test_what_is_no_directory_goes_as_well(tree: Path, kind: str) -> None:
    target = tree / "target"
    if kind == "file":
        target.write_text("x")
    elif kind == "symlink":
        target.symlink_to(tree)
    elif kind == "no parent":
        target = tree / "no" / "such"
    fs.remove_tree(target)
    assert list(tree.iterdir()) == []


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A directory on tmpfs: on a disk, thousands of directories take seconds."""
    path = Path(tempfile.mkdtemp(prefix="volt-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_five_thousand_levels(in_memory: Path) -> None:
    tree = in_memory / "tree"
    tree.mkdir()
    before = os.listdir("/proc/self/fd")
    home = os.getcwd()
    try:
        os.chdir(tree)
        for _ in range(5000):
            os.mkdir("d")
            os.chdir("d")
        Path("bottom").write_text("x")
    finally:
        os.chdir(home)
    fs.remove_tree(tree)
    assert not tree.exists()
    assert os.listdir("/proc/self/fd") == before


def test_many_siblings_cost_their_number_and_not_its_square(in_memory: Path) -> None:
    def removal(count: int) -> float:
        folder = in_memory / str(count)
        for number in range(count):
            (folder / str(number)).mkdir(parents=True)
        begin = time.process_time()
        fs.remove_tree(folder)
        return time.process_time() - begin

    removal(100)
    assert removal(8000) < 40 * max(removal(1000), 0.005)


@pytest.mark.parametrize("moved", ["D/E", "D"])
def test_a_directory_that_is_moved_away_meanwhile_does_not_lead_out_of_the_tree(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: str
) -> None:
    (tree / "D" / "E").mkdir(parents=True)
    outside = tmp_path / "outside"
    # Names that the levels above still have to remove exist outside as well.
    for folder in (tree / "home", tree / "D" / "home", outside / "home"):
        folder.mkdir(parents=True)
    (outside / "home" / "precious").write_text("x")
    unlink_files = fs._unlink_files

    def racing(directory: int) -> list[str]:
        names = unlink_files(directory)
        here = Path(os.readlink(f"/proc/self/fd/{directory}"))
        if here == tree / "D" / "E":
            (tree / moved).rename(outside / "moved")
        return sorted(names, key=lambda name: name in ("D", "E"))  # the last one is visited first

    monkeypatch.setattr(fs, "_unlink_files", racing)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="it was moved") as caught:
        fs.remove_tree(tree)
    assert caught.value.errno == errno.EBUSY
    assert (outside / "home" / "precious").read_text() == "x"
    assert os.listdir("/proc/self/fd") == before


LOCKED_TREE = """
import os, sys
from pathlib import Path
from volt_core import fs
tree = Path(sys.argv[1])
for mode in (0o555, 0o500, 0o300, 0o000):
    folder = tree / f"{mode:o}" / "inner"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    (folder / "file").chmod(0)
    folder.chmod(mode)
    folder.parent.chmod(mode)
tree.chmod(0o555)
assert os.geteuid() != 0
fs.remove_tree(tree)
assert not tree.exists()
"""


def test_read_only_directories_of_an_ordinary_user(as_user: AsUser, user_directory: Path) -> None:
    as_user([sys.executable, "-c", LOCKED_TREE, str(user_directory / "tree")])
    assert list(user_directory.iterdir()) == []


def _tmpfs(target: Path, _: Path) -> list[str]:
    return ["mount", "-t", "tmpfs", "none", str(target)]


def _bind(target: Path, source: Path) -> list[str]:
    return ["mount", "--bind", str(source), str(target)]


@pytest.fixture(params=[_tmpfs, _bind], ids=["tmpfs", "bind of the same file system"])
def mounted(tree: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    target, source = tree / "a" / "mnt", tmp_path / "source"
    target.mkdir(parents=True)
    source.mkdir()
    make: Callable[[Path, Path], list[str]] = request.param
    run.run(make(target, source), timeout=10)
    try:
        yield target
    finally:
        run.run(["umount", str(target)], timeout=10)


@pytest.mark.needs_loop_mount
def test_a_mount_inside_is_busy_and_keeps_its_content(tree: Path, mounted: Path) -> None:
    (mounted / "below").mkdir()
    (mounted / "below" / "precious").write_text("x")
    for path in (tree, mounted):
        with pytest.raises(OSError, match="mounted there") as caught:
            fs.remove_tree(path)
        assert caught.value.errno == errno.EBUSY
    assert (mounted / "below" / "precious").read_text() == "x"
