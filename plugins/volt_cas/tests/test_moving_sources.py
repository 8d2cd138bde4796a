"""Sources that change while, or just after, they are read: reported, and never stored under a wrong name."""

from __future__ import annotations

import os
import threading

import pytest

from volt_cas.errors import SourceChanged
from volt_cas.store import CasStore
from volt_core.contracts import Ref

pytestmark = pytest.mark.usefixtures("engine")
LONG_AGO = 10**18
_ROUNDS = 100


@pytest.fixture
def store(memory_path):
    return CasStore(memory_path / "cas")


def in_place(path, data):
    with path.open("r+b", buffering=0) as file:
        file.write(data)


def in_place_with_old_time(path, data):
    in_place(path, data)
    os.utime(path, ns=(0, LONG_AGO))


def truncated_and_written(path, data):
    path.write_bytes(data)


def appended_to(path, data):
    with path.open("ab", buffering=0) as file:
        file.write(data[: len(data) // 2])
    if path.stat().st_size > 4 * len(data):
        os.truncate(path, len(data))


def replaced(path, data):
    new = path.with_name("new")
    new.write_bytes(data)
    os.utime(new, ns=(0, LONG_AGO))
    new.rename(path)


def removed_and_made(path, data):
    path.unlink()
    path.write_bytes(data)


WRITERS = [in_place, in_place_with_old_time, truncated_and_written, appended_to, replaced, removed_and_made]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("size", [50_000, 1_500_000])
def test_a_file_that_is_written_to_is_stored_right_or_not_at_all(store, memory_path, write, size):
    source = memory_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"0" * size)
    for number in range(5):
        (source / f"still{number}").write_text("still")
    before = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    stop = threading.Event()

    def keep_writing():
        number = 0
        while not stop.is_set():
            number += 1
            write(source / "file", b"%d" % (number % 10) * size)
            stop.wait(0.001 * (number % 3))

    writer = threading.Thread(target=keep_writing)
    writer.start()
    stored = refused = 0
    try:
        for _ in range(_ROUNDS):
            try:
                digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
            except SourceChanged:
                refused += 1
                assert store.find_ref("x").digest == before
                continue
            stored, before = stored + 1, digest
    finally:
        stop.set()
        writer.join()
    # Whatever was read has the name of its content, and no put that failed has left anything.
    assert store.verify().damaged == ()
    assert not list((store.path / "tmp").iterdir())
    # The last word, when nobody writes any more, is what is there.
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    assert store.read_file(digest, b"file") == (source / "file").read_bytes()
    assert stored + refused == _ROUNDS
    assert refused or size < 1_000_000


@pytest.mark.parametrize("size", [10, 1_500_000])
def test_an_edit_within_a_tick_behind_an_old_time_is_always_seen(store, memory_path, size):
    source = memory_path / "source"
    source.mkdir()
    path = source / "file"
    path.write_bytes(bytes(size))
    for number in range(100 if size < 1000 else 10):
        data = b"%10d" % number
        with path.open("r+b", buffering=0) as file:
            file.write(data)
        os.utime(path, ns=(0, LONG_AGO))
        digest = store.put_directory(source).digest
        assert store.read_file(digest, b"file")[:10] == data
    assert store.put_directory(source).digest == digest


def test_an_edit_while_the_cache_is_being_written_is_seen_next_time(store, memory_path):
    """Two sources by one path, one after the other, whose files have the same names, sizes and times."""
    for number in range(20):
        source = memory_path / "source"
        other = memory_path / f"other{number}"
        other.mkdir()
        (other / "file").write_text(f"{number:4}")
        os.utime(other / "file", ns=(0, LONG_AGO))
        if source.exists():
            source.rename(memory_path / f"old{number}")
        other.rename(source)
        digest = store.put_directory(source).digest
        assert store.read_file(digest, b"file") == b"%4d" % number
