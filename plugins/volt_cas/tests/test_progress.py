"""Progress: what is announced is what is done, so that the time left can be told."""

from __future__ import annotations

import os

import pytest

from volt_cas.copies import DirectorySource
from volt_core.contracts import CheckoutMode, Ref
from volt_core.testing.phases import Phases


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    (top / "sub").mkdir(parents=True)
    for name, size in (("one", 10), ("two", 3 << 20), ("sub/three", 7), ("empty", 0)):
        (top / name).write_bytes(os.urandom(size))
    os.link(top / "one", top / "sub/same")
    return top


def test_each_phase_announces_what_it_does(store, source, tmp_path):
    size = 10 + (3 << 20) + 7 + 10
    watcher = Phases()
    digest = store.put_directory(source, ref=Ref(name="a", digest=""), progress=watcher).digest
    store.put_directory(source, progress=watcher)
    for mode in (CheckoutMode.COPY, CheckoutMode.LINK):
        store.checkout(digest, tmp_path / mode, mode=mode, progress=watcher)
    assert [phase[1:] for phase in watcher.phases] == [[size, size, 5]] * 4
    (source / "one").chmod(0o600)
    store.linked_tree(store.put_directory(source, ref=Ref(name="b", digest="")).digest)
    watcher.phases.clear()
    store.verify(progress=watcher)
    assert [phase[1:] for phase in watcher.phases] == [[size, size, 4]]  # three objects and a variant


def test_a_repair_announces_what_it_puts_in_place(store, source):
    store.put_directory(source, ref=Ref(name="a", digest=""))
    for path in (store.path / "objects").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.unlink()
    watcher = Phases()
    store.verify(repair=True, sources=[DirectorySource(source)], progress=watcher)
    assert [phase[:3] for phase in watcher.phases] == [["Verifying", 17, 17], ["Repairing", 3 << 20, 3 << 20]]


def test_nobody_looks_and_nothing_is_counted_beforehand(store, source):
    watcher = Phases()
    watcher.WATCHED = False
    store.put_directory(source, progress=watcher)
    assert [phase[1] for phase in watcher.phases] == [None]
