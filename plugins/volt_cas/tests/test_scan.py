"""Scanning directories: what is left out, what is not read again, what must not be stored."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from pathlib import Path

import pytest

from volt_cas import tree, writer
from volt_cas.errors import SourceChanged
from volt_cas.store import CasStore
from volt_core import native, run
from volt_core.contracts import MtimePolicy, Ref
from volt_core.contracts.progress import NoProgress
from volt_core.errors import NotFoundError, StoreError
from volt_core.testing import host

LONG_AGO = 10**18


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    for name in ("a.txt", "b.log", "sub/a.txt", "sub/c.log", "sub/cache/big"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return top


def paths(store, digest):
    return {os.fsdecode(entry.path) for entry in store.entries(digest)}


@pytest.mark.parametrize(
    ("patterns", "gone"),
    [
        (["*.log"], {"b.log", "sub/c.log"}),
        (["/b.log"], {"b.log"}),
        (["sub/*.log"], {"sub/c.log"}),
        (["cache"], {"sub/cache", "sub/cache/big"}),
        (["cache/"], {"sub/cache", "sub/cache/big"}),
        (["sub/cache/*"], {"sub/cache/big"}),
        (["a.txt", "sub/cache"], {"a.txt", "sub/a.txt", "sub/cache", "sub/cache/big"}),
    ],
)
def test_excluded_entries_are_left_out(store, source, patterns, gone):
    everything = paths(store, store.put_directory(source).digest)
    assert paths(store, store.put_directory(source, exclude=patterns).digest) == everything - gone


def test_clamped_trees_are_equal_whenever_they_were_made(store, source):
    (source / "link").symlink_to("a.txt")
    kept = store.put_directory(source).digest
    clamped = store.put_directory(source, mtime=MtimePolicy.CLAMP).digest
    for path in ("a.txt", "link", "sub", "."):
        os.utime(source / path, ns=(0, 5), follow_symlinks=False)
    assert store.put_directory(source, mtime=MtimePolicy.CLAMP).digest == clamped
    assert store.put_directory(source).digest != kept


def age(monkeypatch, seconds):
    """Let the next scan begin this much later, so that nothing it finds is racy."""
    import time

    now = time.time_ns() + seconds * 10**9
    monkeypatch.setattr("volt_cas.statcache.time.time_ns", lambda: now)


@pytest.fixture
def reads(monkeypatch, twin):
    """The files that were opened for reading."""
    found = []
    original = tree.Scan._read

    def read(self, descriptor, info, item, metadata):
        found.append(item.path)
        return original(self, descriptor, info, item, metadata)

    monkeypatch.setattr(tree.Scan, "_read", read)
    return found


def test_an_unchanged_file_is_not_read_again(store, source, monkeypatch, reads):
    age(monkeypatch, 10)
    first = store.put_directory(source).digest
    assert len(reads) == 5
    reads.clear()
    assert store.put_directory(source).digest == first
    assert reads == []
    (source / "a.txt").write_text("A.txt")  # of the same size
    assert store.put_directory(source).digest != first
    assert reads == [b"a.txt"]


def test_a_change_behind_an_old_mtime_is_seen(store, source, monkeypatch, reads):
    age(monkeypatch, 10)
    os.utime(source / "a.txt", ns=(0, LONG_AGO))
    first = store.put_directory(source).digest
    (source / "a.txt").write_text("A.txt")
    os.utime(source / "a.txt", ns=(0, LONG_AGO))
    assert store.put_directory(source).digest != first


def test_a_file_that_was_changed_a_moment_ago_is_read_again(store, source, reads):
    store.put_directory(source)
    reads.clear()
    store.put_directory(source)
    assert len(reads) == 5


@pytest.mark.usefixtures("engine")
def test_a_changed_attribute_is_seen(store, source, monkeypatch):
    age(monkeypatch, 10)
    first = store.put_directory(source).digest
    os.setxattr(source / "a.txt", "user.x", b"1")
    assert store.put_directory(source).digest != first


@pytest.mark.usefixtures("engine")
def test_a_lost_object_is_stored_again_though_the_cache_knows_it(store, source, monkeypatch):
    age(monkeypatch, 10)
    store.put_directory(source)
    for path in (store.path / "objects").rglob("*"):
        if path.is_file():
            path.unlink()
    assert store.put_directory(source, ref=Ref(name="x", digest="")).new_objects == 5
    assert store.verify().damaged == ()


@pytest.mark.parametrize("content", [b"", b"\x93\x01", b"\x92\x01\x80", os.urandom(300)])
def test_a_damaged_cache_is_ignored(store, source, content, engine):
    digest = store.put_directory(source).digest
    for path in (store.path / "cache").iterdir():
        path.write_bytes(content)
    assert store.put_directory(source).digest == digest


def test_a_cache_that_differs_in_a_byte_is_ignored(store, source, monkeypatch, engine):
    host.require("user_xattrs")
    os.setxattr(source / "a.txt", "user.x", b"1")
    age(monkeypatch, 10)
    digest = store.put_directory(source).digest
    (path,) = (store.path / "cache").iterdir()
    sound = path.read_bytes()
    for at in range(0, len(sound), 7):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1 :])
        assert store.put_directory(source).digest == digest
        assert path.read_bytes() == sound


def test_a_truncated_object_is_replaced_by_the_next_put(store, source):
    store.put_directory(source, ref=Ref(name="x", digest=""))
    for path in (store.path / "objects").rglob("*"):
        if path.is_file():
            os.truncate(path, 1)
    assert len(store.verify().damaged) == 5
    store.put_directory(source)
    assert store.verify().damaged == ()


@pytest.mark.usefixtures("twin")
@pytest.mark.parametrize("size", [100, 3 << 20])
def test_a_file_that_changes_while_it_is_read_is_an_error(store, source, monkeypatch, held, size):
    before = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    stored = held(store.path)
    path = source / "changing"
    path.write_bytes(bytes(size))
    original = tree.Scan._read

    def read(self, descriptor, info, item, metadata):
        digest = original(self, descriptor, info, item, metadata)
        if item.path == b"changing":
            path.write_bytes(b"x" * size)
        return digest

    monkeypatch.setattr(tree.Scan, "_read", read)
    with pytest.raises(SourceChanged, match="'changing' changed while it was read"):
        store.put_directory(source, ref=Ref(name="x", digest=""))
    assert store.find_ref("x").digest == before
    assert held(store.path) == stored


@pytest.mark.usefixtures("twin")
def test_a_file_that_is_replaced_before_it_is_read_is_an_error(store, source, monkeypatch):
    original = tree.Scan._enter

    def enter(self, root, path):
        original(self, root, path)
        (source / "a.txt").unlink(missing_ok=True)
        (source / "a.txt").symlink_to("/etc/passwd")

    monkeypatch.setattr(tree.Scan, "_enter", enter)
    with pytest.raises(SourceChanged, match=r"a\.txt"):
        store.put_directory(source)


@pytest.mark.usefixtures("twin")
def test_a_directory_that_becomes_a_symlink_is_not_followed(store, source, monkeypatch, tmp_path):
    original = tree.Scan._enter
    os.rename(source / "sub", tmp_path / "elsewhere")
    (source / "sub").mkdir()
    (source / "sub/a.txt").write_text("x")

    def enter(self, root, path):
        if path == b"sub" and not (source / "sub").is_symlink():
            os.rename(source / "sub", tmp_path / "moved")
            (source / "sub").symlink_to(tmp_path / "elsewhere")
        original(self, root, path)

    monkeypatch.setattr(tree.Scan, "_enter", enter)
    with pytest.raises(SourceChanged):
        store.put_directory(source)


def test_a_source_that_is_no_directory(store, source):
    for path in (source / "nowhere", source / "a.txt"):
        with pytest.raises(NotFoundError, match="no directory"):
            store.put_directory(path)


def test_the_store_leaves_itself_out(tmp_path):
    store = CasStore(tmp_path / "in/cas")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("x")
    result = store.put_directory(tmp_path / "in")
    assert paths(store, result.digest) == {"", "file"}
    assert "the store itself" in result.notes[0]


@pytest.mark.needs_root
def test_what_belongs_to_overlayfs_is_left_out_with_a_note(store, source):
    os.mknod(source / "whiteout", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    os.setxattr(source / "sub", "trusted.overlay.opaque", b"y")
    os.setxattr(source / "a.txt", "user.overlay.origin", b"")
    os.setxattr(source / "a.txt", "user.kept", b"1")
    result = store.put_directory(source)
    found = {entry.path: entry for entry in store.entries(result.digest)}
    assert b"whiteout" not in found
    assert dict(found[b"sub"].xattrs) == {}
    assert dict(found[b"a.txt"].xattrs) == {"user.kept": b"1"}
    assert len(result.notes) == 2
    assert any("whiteouts" in note for note in result.notes)


def test_two_puts_of_one_tree_at_once(store, source):
    (source / "large").write_bytes(os.urandom(3 << 20))
    results = []
    threads = [threading.Thread(target=lambda: results.append(store.put_directory(source))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.digest for result in results}) == 1
    assert len(results) == 4
    assert store.verify().damaged == ()


@pytest.mark.parametrize("moment", ["before it is opened", "before it is locked"])
def test_a_staging_directory_that_is_taken_for_dead_is_made_again(store, source, monkeypatch, moment):
    taken = []
    original, lock = os.open, fcntl.flock

    def take(path):
        if not taken and "run-" in path:
            taken.append(path)
            os.rmdir(path)

    def open_(path, *args, **named):
        if moment == "before it is opened":
            take(os.fspath(path) if isinstance(path, os.PathLike) else "")
        return original(path, *args, **named)

    def flock(descriptor, operation):
        if moment == "before it is locked":
            take(os.readlink(f"/proc/self/fd/{descriptor}"))
        lock(descriptor, operation)

    monkeypatch.setattr("volt_cas.staging.os.open", open_)
    monkeypatch.setattr("volt_cas.staging.fcntl.flock", flock)
    store.put_directory(source, ref=Ref(name="x", digest=""))
    assert len(taken) == 1
    assert store.verify().damaged == ()


def test_metadata_is_set_before_content_becomes_visible(store, source, monkeypatch):
    seen = []
    original = writer.publish

    def publish(staging, place):
        found = Path(f"/proc/self/fd/{staging}").resolve().glob("*/objects/**/*")
        seen.extend(path.stat().st_mode & 0o777 for path in found if path.is_file())
        original(staging, place)

    monkeypatch.setattr(writer, "publish", publish)
    (source / "a.txt").chmod(0o640)
    store.put_directory(source)
    assert 0o640 in seen
    assert 0o600 not in seen


@pytest.mark.needs_root
def test_attributes_that_no_record_keeps_are_noted(store, source):
    host.require("user_xattrs")
    for path in (source / "sub", source / "a.txt"):
        os.setxattr(path, "trusted.x", b"1")
        os.setxattr(path, "user.x", b"1")
    result = store.put_directory(source)
    (note,) = result.notes
    assert "attributes 'trusted.*': 2, the first at 'a.txt'" in note
    found = {entry.path: dict(entry.xattrs) for entry in store.entries(result.digest)}
    assert found[b"sub"] == found[b"a.txt"] == {"user.x": b"1"}


@pytest.mark.usefixtures("twin")
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EACCES, errno.ENODATA])
def test_an_attribute_that_cannot_be_read_costs_no_other(store, source, monkeypatch, number):
    host.require("user_xattrs")
    for name in ("user.a", "user.b", "user.c"):
        os.setxattr(source / "a.txt", name, b"1")
    original = os.getxattr

    def getxattr(path, name, **options):
        if name == "user.b":
            raise OSError(number, os.strerror(number), path)
        return original(path, name, **options)

    monkeypatch.setattr(os, "getxattr", getxattr)
    result = store.put_directory(source)
    (entry,) = (entry for entry in store.entries(result.digest) if entry.path == b"a.txt")
    assert dict(entry.xattrs) == {"user.a": b"1", "user.c": b"1"}
    # What has gone meanwhile is not left out.
    notes = () if number == errno.ENODATA else ("Left out attributes that cannot be read: 1, the first at 'a.txt'",)
    assert result.notes == notes


@pytest.mark.needs_root
@pytest.mark.parametrize("same", [True, False])
def test_what_is_mounted_is_left_out_of_one_file_system(store, source, tmp_path, same):
    """A bind mount of the same file system has its device number, and a file can be a mount point too."""
    other = tmp_path / "other sub"
    other.mkdir()
    (source / "a b").mkdir()
    (source / "a b/c").touch()
    points = {other / "d": source / "sub/cache", other / "f": source / "a b/c"}
    mounted = []
    try:
        if not same:
            run.run(["mount", "-t", "tmpfs", "none", str(other)], timeout=30)
            mounted.append(other)
        (other / "d").mkdir()
        (other / "d/foreign").write_text("foreign")
        (other / "f").write_text("foreign")
        for what, where in points.items():
            run.run(["mount", "--bind", str(what), str(where)], timeout=30)
            mounted.append(where)
        everything = store.put_directory(source)
        result = store.put_directory(source, one_file_system=True)
    finally:
        for where in reversed(mounted):
            run.run(["umount", str(where)], timeout=30)
    gone = {"a b/c", "sub/cache/foreign"}
    assert paths(store, result.digest) == paths(store, everything.digest) - gone
    assert result.notes == ("Left out files mounted from elsewhere: 1, the first at 'a b/c'",)
    assert everything.notes == ()


@pytest.mark.usefixtures("twin")
def test_what_two_runs_of_one_process_remember_is_not_mixed(store, source, monkeypatch):
    """Each has the cache of the same source half written when the other begins."""
    from volt_cas import statcache

    original, nested = statcache._packed, []

    def packed(known):
        if not nested:
            nested.append(known)
            store.put_directory(source)
        return original(known)

    age(monkeypatch, 10)
    monkeypatch.setattr(statcache, "_packed", packed)
    store.put_directory(source)
    assert nested
    (path,) = (store.path / "cache").iterdir()
    assert len(list(statcache._entries(path.read_bytes()))) == 5
    assert not list((store.path / "tmp").iterdir())


def test_both_twins_read_what_the_other_remembers(store, source, monkeypatch):
    """They write the same cache, and an unchanged file is not read again by the one nor by the other."""
    host.require("native")
    age(monkeypatch, 10)
    content = os.urandom(2 << 20)
    (source / "large").write_bytes(content)
    host.require("user_xattrs")
    for number in range(20):
        os.setxattr(source / "large", f"user.{number}", b"x" * number)
    written, digests = {}, set()
    for wanted in ("c", "python", "c"):
        monkeypatch.setenv("VOLT_NATIVE", wanted)
        native._chosen.cache_clear()
        before = read_so_far()
        digests.add(store.put_directory(source).digest)
        again = bool(written)
        assert (read_so_far() - before < len(content)) == again
        (path,) = (store.path / "cache").iterdir()
        written[wanted] = path.read_bytes()
    native._chosen.cache_clear()
    assert written["c"] == written["python"]
    assert len(digests) == 1


@pytest.mark.usefixtures("engine")
def test_a_directory_that_moved_within_its_source_is_not_read_again(store, source, monkeypatch):
    age(monkeypatch, 10)
    content = os.urandom(2 << 20)
    (source / "sub/large").write_bytes(content)
    first = store.put_directory(source).digest
    (source / "sub").rename(source / "moved")
    before = read_so_far()
    digest = store.put_directory(source).digest
    assert read_so_far() - before < len(content)
    assert paths(store, digest) == {path.replace("sub", "moved") for path in paths(store, first)}


def read_so_far():
    """Return how many bytes this process has read."""
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])


@pytest.mark.parametrize("engine", ["c"], indirect=True)  # the twin opens each directory from the top
def test_a_source_that_is_deeper_than_any_tree(store, memory_path, engine):
    folder = os.open(memory_path, os.O_RDONLY)
    for _ in range(4096):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    with pytest.raises(StoreError, match="4096 directories deep"):
        store.put_directory(memory_path)
    assert list(store.refs()) == []


class Impatient(NoProgress):
    """Somebody who gives up when the first bytes were read."""

    def advance(self, byte_count, file_count=0):
        if byte_count:
            raise KeyboardInterrupt


@pytest.mark.parametrize("engine", ["c"], indirect=True)  # Python handles a signal whatever it is doing
def test_an_interrupt_ends_the_reading_of_a_large_file(memory_path, engine):
    size = 384 << 20
    (memory_path / "source").mkdir()
    with (memory_path / "source/large").open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(4096) * 256)
    store = CasStore(memory_path / "cas")
    before = read_so_far()
    with pytest.raises(KeyboardInterrupt):
        store.put_directory(memory_path / "source", progress=Impatient())
    assert read_so_far() - before < size
    assert not list((store.path / "tmp").iterdir())
    assert store.usage().objects == 0
