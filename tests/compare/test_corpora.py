"""The corpora of the store's comparisons: the same from the same seed, and of the shape that is told."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from benchmarks import corpora

FILES = 2000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpora") / "tree"
    return path, corpora.make_small_files(path, FILES)


def look(tree: Path) -> dict[str, tuple[object, ...]]:
    """Return what makes each entry what it is, but for inodes and ctimes."""
    found = {}
    for folder, directories, names in os.walk(tree):
        for name in (*directories, *names):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            what = content(path) if stat.S_ISREG(info.st_mode) else stat.S_ISLNK(info.st_mode) and os.readlink(path)
            found[os.path.relpath(path, tree)] = (info.st_mode, info.st_mtime_ns, info.st_size, what)
    return found


def content(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def sizes(tree: Path) -> list[int]:
    return [info.st_size for _, info in corpora.regular_files(tree)]


def test_the_same_seed_makes_the_same_tree(made, tmp_path):
    path, first = made
    second = corpora.make_small_files(tmp_path / "again", FILES)
    other = corpora.make_small_files(tmp_path / "other", FILES, seed=2)
    assert first == second
    entries = {name: what for name, what in look(path).items() if not stat.S_ISLNK(what[0])}
    assert entries == {name: what for name, what in look(tmp_path / "again").items() if not stat.S_ISLNK(what[0])}
    assert other != first


def test_small_files_have_the_promised_shape(made):
    path, told = made
    found = sizes(path)
    assert told.files == FILES == len(found)
    assert told.bytes == sum(found)
    assert max(found) <= corpora.LARGEST_SMALL
    assert 3300 < sum(found) / FILES < 4100
    assert found.count(0) == told.empty == FILES // 2000
    contents = [content(name) for name, info in corpora.regular_files(path) if info.st_size]
    assert len(contents) - len(set(contents)) == told.equal > FILES // 20
    states: dict[bytes, set[tuple[int, int]]] = {}
    for name, info in corpora.regular_files(path):
        if info.st_size:
            states.setdefault(content(name), set()).add((info.st_mode, info.st_mtime_ns))
    assert sum(len(kinds) - 1 for kinds in states.values()) == told.equal // 20 > 0
    listing = look(path)
    assert sum(stat.S_ISDIR(what[0]) for what in listing.values()) == told.directories - 1
    assert sum(stat.S_ISLNK(what[0]) for what in listing.values()) == told.symlinks > 0
    assert len(listing) == told.directories - 1 + FILES + told.symlinks + told.hardlinks
    assert told.hardlinks > 0
    assert FILES / 8 < told.directories < FILES / 5
    assert max(name.count("/") for name in listing) >= 4


def test_large_files_share_no_block(tmp_path):
    told = corpora.make_large_files(tmp_path / "large", 1 << 20)
    files = sorted((tmp_path / "large").iterdir())
    assert [path.stat().st_size for path in files] == [1 << 20] * 4
    assert told.bytes == 4 << 20
    pages = [path.read_bytes()[at : at + 4096] for path in files for at in range(0, 1 << 20, 4096)]
    assert len(set(pages)) == len(pages) == 1024


@pytest.mark.parametrize("clustered", [False, True])
def test_one_percent_of_the_files_changes_and_nothing_else(tmp_path, clustered):
    tree = tmp_path / "tree"
    corpora.make_small_files(tree, 400)
    before, modes = look(tree), {path: info.st_mode for path, info in corpora.regular_files(tree)}
    count = corpora.change_files(tree, clustered=clustered)
    after = look(tree)
    changed = sorted(name for name in before if stat.S_ISREG(before[name][0]) and before[name] != after[name])
    assert set(after) == set(before)
    assert len(changed) == count == 4
    assert all(after[name][2] >= before[name][2] for name in changed)
    assert all(os.lstat(path).st_mode == mode for path, mode in modes.items())
    order = [os.path.relpath(path, tree) for path, info in corpora.regular_files(tree)]
    places = sorted(order.index(name) for name in changed)
    assert (places[-1] - places[0] < 8) == clustered


def test_a_large_file_changes_without_being_copied(tmp_path):
    corpora.make_large_files(tmp_path / "large", 8 << 20, files=2)
    inodes = {path: info.st_ino for path, info in corpora.regular_files(tmp_path / "large")}
    before = {path: content(path) for path in inodes}
    assert corpora.change_files(tmp_path / "large") == 1
    assert sum(content(path) != before[path] for path in inodes) == 1
    assert {path: info.st_ino for path, info in corpora.regular_files(tmp_path / "large")} == inodes


def test_touch_changes_times_alone(tmp_path):
    corpora.make_small_files(tmp_path / "tree", 100)
    before = look(tmp_path / "tree")
    corpora.touch(tmp_path / "tree", seconds=5)
    after = look(tmp_path / "tree")
    assert {name: what[1] - before[name][1] for name, what in after.items()} == dict.fromkeys(before, 5 * 10**9)
    assert all((what[0], what[3]) == (before[name][0], before[name][3]) for name, what in after.items())


@pytest.mark.parametrize("make", [corpora.make_small_files, lambda path, _: corpora.make_large_files(path, 4096)])
def test_halves_hold_everything_between_them_and_objects_are_what_goes(tmp_path, make):
    tree, first, second = tmp_path / "tree", tmp_path / "first", tmp_path / "second"
    make(tree, 600)
    corpora.split(tree, first, second)
    names = [{name for name, what in look(half).items() if stat.S_ISREG(what[0])} for half in (first, second)]
    assert names[0] | names[1] == {name for name, what in look(tree).items() if stat.S_ISREG(what[0])}
    assert not names[0] & names[1]
    assert min(map(len, names)) > 0.8 * max(map(len, names))
    count = corpora.make_objects(second, first, tmp_path / "objects")
    kept, lost = ({content(path) for path, info in corpora.regular_files(it) if info.st_size} for it in (first, second))
    objects = {path.parent.name + path.name for path in (tmp_path / "objects").rglob("*") if path.is_file()}
    assert objects == lost - kept
    assert count == len(objects) > 0
