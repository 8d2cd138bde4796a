"""Adopting the files of a source, and reading again what looks unchanged."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import threading

import pytest

from volt_cas.adopt import Adopter
from volt_cas.layout import fan_out
from volt_cas.metadata import metadata_of
from volt_core.contracts import CheckoutMode, MtimePolicy
from volt_core.errors import StoreError
from volt_core.testing import host
from volt_core.testing.trees import differences

_SET_SIGNAL = 10  # F_SETSIG
CONTENT = "what the file has"


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    top.mkdir()
    (top / "file").write_text(CONTENT)
    return top


def inode_of(store, digest, path=b"file"):
    content = next(iter(store.entries(digest, path))).digest
    return os.stat(store.path / "objects" / fan_out(bytes.fromhex(content.removeprefix("sha256:")))).st_ino


def test_an_adopted_file_is_the_object(store, source, tmp_path):
    (source / "large").write_bytes(os.urandom(3 * 2**20))
    plain = store.put_directory(source).digest
    fresh = type(store)(tmp_path / "fresh")
    put = fresh.put_directory(source, adopt=True)
    assert (put.digest, put.notes, put.new_objects) == (plain, (), 2)
    for name in ("file", "large"):
        assert inode_of(fresh, put.digest, name.encode()) == (source / name).stat().st_ino
    assert fresh.verify().damaged == ()
    assert list((tmp_path / "fresh/tmp").iterdir()) == []


def test_the_metadata_of_an_adopted_file_is_left_alone_and_needs_no_variant(store, source, tmp_path):
    (source / "file").chmod(0o4751)
    os.setxattr(source / "file", "user.note", b"kept")
    os.utime(source / "file", ns=(-5, -5))
    before = (source / "file").stat()
    digest = store.put_directory(source, adopt=True).digest
    after = (source / "file").stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (before.st_mode, before.st_mtime_ns, before.st_uid)
    store.checkout(digest, tmp_path / "linked", mode=CheckoutMode.LINK)
    assert (tmp_path / "linked/file").stat().st_ino == before.st_ino
    assert store.usage().variants == 0
    assert differences(source, tmp_path / "linked") == []


def test_what_is_stored_already_stays_as_it_is(store, source, tmp_path):
    digest = store.put_directory(source).digest
    inode = inode_of(store, digest)
    assert store.put_directory(source, adopt=True, rehash=True).new_objects == 0
    assert inode_of(store, digest) == inode != (source / "file").stat().st_ino
    assert (source / "file").stat().st_nlink == 1


def test_a_damaged_object_is_replaced_by_an_adopted_file(store, source):
    digest = store.put_directory(source).digest
    content = next(iter(store.entries(digest, b"file"))).digest.removeprefix("sha256:")
    (store.path / "objects" / content[:2] / content[2:]).write_text("short")
    store.put_directory(source, adopt=True, rehash=True)
    assert store.verify().damaged == ()
    assert inode_of(store, digest) == (source / "file").stat().st_ino


def test_a_file_with_another_name_is_copied(store, source, tmp_path):
    os.link(source / "file", tmp_path / "elsewhere")
    put = store.put_directory(source, adopt=True)
    assert put.notes == ("Copied instead of adopted files with other names: 1, the first at 'file'",)
    (tmp_path / "elsewhere").write_text("x" * len(CONTENT))
    assert store.read_file(put.digest, b"file") == CONTENT.encode()


@pytest.mark.parametrize("how", ["descriptor", "mapping"])
def test_a_file_with_an_open_writer_is_copied(store, source, how):
    with (source / "file").open("r+b") as file:
        held = mmap.mmap(file.fileno(), 0) if how == "mapping" else file
        if how == "mapping":
            file.close()
        put = store.put_directory(source, adopt=True)
        held.write(b"W")
        held.flush()
    assert put.notes == ("Copied instead of adopted files that may be open for writing: 1, the first at 'file'",)
    assert store.read_file(put.digest, b"file") == CONTENT.encode()


def test_a_writer_that_comes_meanwhile_waits_and_ends_nothing(store, source, monkeypatch):
    from volt_cas import tree

    written = threading.Event()
    seen = []

    def write():
        (source / "file").open("r+b").close()
        written.set()

    def hashed(descriptor, read=tree.native.hash_file):
        threading.Thread(target=write, daemon=True).start()
        seen.append(written.wait(0.3))
        return read(descriptor)

    monkeypatch.setattr(tree.native, "hash_file", hashed)
    digest = store.put_directory(source, adopt=True).digest
    assert seen == [False]
    assert written.wait(10)
    assert store.read_file(digest, b"file") == CONTENT.encode()
    assert signal.getsignal(signal.SIGIO) is signal.SIG_DFL


@pytest.mark.parametrize(("user", "why"), [(0, None), (1, "of another owner")])
def test_a_file_of_somebody_else_is_taken_by_root_alone(source, monkeypatch, user, why):
    descriptor = os.open(source / "file", os.O_RDONLY)
    try:
        info = os.fstat(descriptor)
        monkeypatch.setattr(os, "geteuid", lambda: user and info.st_uid + user)
        assert Adopter(info.st_dev).why_not(descriptor, info, metadata_of(info, ())) == why
    finally:
        os.close(descriptor)


def test_clamped_times_are_no_reason_to_change_the_file(store, source):
    before = (source / "file").stat()
    put = store.put_directory(source, adopt=True, mtime=MtimePolicy.CLAMP)
    assert put.notes == ("Copied instead of adopted files with other times than the record: 1, the first at 'file'",)
    assert (source / "file").stat() == before


def test_a_source_on_another_file_system_is_copied(store, tmp_path):
    host.require("loop_mount")
    from volt_core import run

    top = tmp_path / "mounted"
    top.mkdir()
    run.run(["mount", "-t", "tmpfs", "none", str(top)], timeout=30)
    try:
        (top / "file").write_text(CONTENT)
        put = store.put_directory(top, adopt=True)
    finally:
        run.run(["umount", str(top)], timeout=30)
    assert put.notes == ("Copied instead of adopted files on another file system: 1, the first at 'file'",)
    assert store.verify().damaged == ()


@pytest.mark.usefixtures("engine")
def test_rehash_reads_what_looks_unchanged(store, source, monkeypatch):
    from volt_cas import statcache

    monkeypatch.setattr(statcache, "_RACY_NS", -(10**9))
    digest = store.put_directory(source).digest
    with (source / "file").open("r+b") as file:
        # Whoever opens the file while this lease is held would have to wait for its end, and the scan does not wait.
        fcntl.fcntl(file, _SET_SIGNAL, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert store.put_directory(source).digest == digest
        with pytest.raises(StoreError):
            store.put_directory(source, rehash=True)
    assert store.put_directory(source, rehash=True).digest == digest
