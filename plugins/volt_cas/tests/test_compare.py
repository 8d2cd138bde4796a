"""The comparer must see each kind of difference, or every round trip would pass."""

from __future__ import annotations

import os
import stat

import pytest

from volt_core.testing.trees import awkward_tree, differences


@pytest.fixture
def pair(tmp_path):
    for name in ("a", "b"):
        awkward_tree(tmp_path / name)
    # Times of what was made just now differ; give both the same.
    for folder, folders, files in os.walk(tmp_path / "a", topdown=False):
        for path in [folder, *(os.path.join(folder, name) for name in folders + files)]:
            twin = tmp_path / "b" / os.path.relpath(path, tmp_path / "a")
            os.utime(twin, ns=(0, os.lstat(path).st_mtime_ns), follow_symlinks=False)
    return tmp_path / "a", tmp_path / "b"


def keeping_time(path, change):
    """Change a file without its times telling."""
    before = path.lstat()
    change(path)
    os.utime(path, ns=(0, before.st_mtime_ns), follow_symlinks=False)


def relink(path):
    """Make one name of a hard-linked file a file of its own."""
    data, info = path.read_bytes(), path.stat()
    path.unlink()
    path.write_bytes(data)
    path.chmod(stat.S_IMODE(info.st_mode))


def retarget(path):
    path.unlink()
    path.symlink_to("elsewhere")


def fill(path):
    with path.open("r+b") as file:
        file.write(bytes(5_000_001))


CHANGES = {
    "content": ("plain", lambda path: path.write_bytes(b"The same in all of them\n")),
    "size": ("same-content", lambda path: path.write_bytes(b"")),
    "mode": ("other-mode", lambda path: path.chmod(0o754)),
    "mtime_ns": ("plain", lambda path: os.utime(path, ns=(0, 1_234_567_890_123_456_788))),
    "target": ("dangling", retarget),
    "xattrs": ("plain", lambda path: os.removexattr(path, "user.another")),
    "hardlinks": ("zz-group-a", relink),
    "holes": ("only-hole", fill),
    "type": ("fifo", lambda path: (path.unlink(), path.touch())),
    "only in the first": ("long-target", lambda path: path.unlink()),
}
FOR_ROOT = {
    "uid": ("plain", lambda path: os.chown(path, 1001, -1)),
    "gid": ("plain", lambda path: os.chown(path, -1, 34)),
    "device": ("null", lambda path: (path.unlink(), os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5)))),
    "xattrs": ("capable", lambda path: os.removexattr(path, "security.capability")),
}


def test_equal_trees_have_no_differences(pair):
    assert differences(*pair) == []


@pytest.mark.parametrize("kind", CHANGES)
def test_each_kind_of_difference_is_seen(pair, kind):
    name, change = CHANGES[kind]
    apply_change = change if kind in ("mtime_ns", "only in the first") else lambda path: keeping_time(path, change)
    apply_change(pair[1] / name)
    assert any(line.startswith(name) and kind in line for line in differences(*pair)), differences(*pair)


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", FOR_ROOT)
def test_each_kind_of_difference_that_root_can_make_is_seen(pair, kind):
    name, change = FOR_ROOT[kind]
    keeping_time(pair[1] / name, change)
    assert any(line.startswith(name) and kind in line for line in differences(*pair)), differences(*pair)


def test_an_acl_is_seen(pair):
    os.removexattr(pair[1] / "sticky", "system.posix_acl_default")
    assert any(line.startswith("sticky: xattrs") for line in differences(*pair))


def test_names_of_any_bytes_are_seen(pair):
    os.unlink(os.fsencode(pair[1]) + b"/\xff\xfe not utf-8")
    assert any("\\xff" in line and "only in the first" in line for line in differences(*pair))
