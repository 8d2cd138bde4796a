"""Promises about a disk that fails: each system call in turn is answered with an error."""

from __future__ import annotations

import itertools
import os
import re

import pytest

from volt_cas.store import CasStore
from volt_core.contracts import CheckoutMode, Ref
from volt_core.errors import StoreError
from volt_core.testing.syscalls import CHANGES, SYNCS, boundaries, in_two, run_failing, trace
from volt_core.testing.trees import differences

pytestmark = [pytest.mark.needs_strace, pytest.mark.usefixtures("engine")]
_READS = ("read", "pread64", "getdents64", "lseek")
_ALL_READS = (
    *(*_READS, "newfstatat", "fstat", "statx", "readlinkat", "faccessat", "faccessat2"),
    *("fgetxattr", "getxattr", "lgetxattr", "flistxattr", "llistxattr"),
)


@pytest.fixture
def source(memory_path):
    top = memory_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "a").write_text("a")
    (top / "sub/b").write_text("b")
    (top / "sub/b").chmod(0o755)
    (top / "same").write_text("b")
    (top / "link").symlink_to("a")
    (top / "large").write_bytes(bytes(range(256)) * 5000)
    return top


@pytest.fixture
def stores(memory_path):
    """Empty stores, as many as are asked for."""
    return (CasStore(memory_path / f"cas-{os.getpid()}-{number}") for number in itertools.count())


@pytest.fixture
def used_stores(memory_path, half_used):
    """The same with half of the folders; each is one more that may fail to be read."""
    return (half_used(memory_path / f"cas-{os.getpid()}-{number}") for number in itertools.count())


def failing_everywhere(act, prepare, error, below, reads=_READS, half=list):
    """Yield each call on files below a directory, and whether `act` succeeded although that had failed."""
    prepare()
    found = trace(act, (*CHANGES, *SYNCS, *reads))
    calls = half([call for call in boundaries(found) if " = -1 " not in call.text and str(below) in call.text])
    tried = 0
    for call in calls:
        prepare()
        succeeded = run_failing(act, call.name, call.number, error)
        if succeeded is not None:
            tried += 1
            yield call, succeeded
    # Which of several threads makes a call is another one each time.
    assert tried > len(calls) / 2, (tried, len(calls))


@pytest.mark.parametrize(("engine", "error"), [("c", "EIO"), ("python", "EDQUOT")], indirect=["engine"])
def test_a_put_that_fails_anywhere_says_so_and_damages_nothing(source, used_stores, memory_path, left_over, error):
    with in_two() as half:

        def prepare():
            nonlocal store, before
            store = next(used_stores)
            before = store.put_directory(source / "sub", ref=Ref(name="x", digest="")).digest

        def put():
            store.put_directory(source, ref=Ref(name="x", digest=""))

        store, before, after = None, "", next(used_stores).put_directory(source).digest
        for call, succeeded in failing_everywhere(put, prepare, error, memory_path, _ALL_READS, half=half):
            assert not (succeeded and call.name in SYNCS), call
            assert store.find_ref("x").digest in ([after] if succeeded else [before, after]), call
            assert store.verify().damaged == (), call
            store.gc(grace=0)
            assert left_over(store) == [], call


@pytest.mark.parametrize("mode", [CheckoutMode.LINK, CheckoutMode.COPY])
def test_a_checkout_that_fails_anywhere_says_so_and_damages_nothing(source, stores, memory_path, left_over, mode):
    with in_two() as half:
        store, numbers, out = next(stores), itertools.count(), None
        digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest

        def prepare():
            nonlocal out
            out = memory_path / f"out-{os.getpid()}-{next(numbers)}"
            for path in [path for path in (store.path / "variants").rglob("*") if path.is_file()]:
                path.unlink()

        for call, succeeded in failing_everywhere(
            lambda: store.checkout(digest, out, mode=mode), prepare, "EIO", memory_path, _ALL_READS, half=half
        ):
            if succeeded:
                assert differences(source, out, ignore={"hardlinks"}) == [], call
            elif out.exists():
                # It could not be removed either.
                assert call.name in ("unlinkat", "openat", "getdents64", "read"), call
            assert store.verify().damaged == (), call
            store.gc(grace=0)
            assert left_over(store) == [], call


def test_a_linked_tree_that_fails_anywhere_is_whole_or_not_there(source, stores, memory_path, left_over):
    with in_two() as half:
        store, numbers = next(stores), itertools.count()
        digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest

        def prepare():
            for path in (store.path / "links").iterdir():
                path.rename(memory_path / f"old-{os.getpid()}-{next(numbers)}")
            for path in [path for path in (store.path / "variants").rglob("*") if path.is_file()]:
                path.unlink()

        for call, succeeded in failing_everywhere(
            lambda: store.linked_tree(digest), prepare, "EIO", memory_path, half=half
        ):
            assert not (succeeded and call.name in SYNCS), call
            assert succeeded <= (store.path / "links" / digest.removeprefix("sha256:")).is_dir(), call
            for path in (store.path / "links").iterdir():
                assert differences(source, path / "root", ignore={"hardlinks"}) == [], call
            assert store.verify().damaged == (), call
            store.gc(grace=0)
            assert left_over(store) == [], call


@pytest.mark.parametrize(("engine", "error"), [("c", "EIO"), ("python", "EACCES")], indirect=["engine"])
def test_gc_that_fails_anywhere_takes_nothing_that_is_wanted(source, stores, memory_path, left_over, error):
    with in_two() as half:

        def prepare():
            nonlocal store
            store = next(stores)
            store.put_directory(source / "sub", ref=Ref(name="x", digest=""))
            store.linked_tree(store.put_directory(source).digest)

        store = None
        for call, _ in failing_everywhere(lambda: store.gc(grace=0), prepare, error, memory_path, half=half):
            assert store.verify().damaged == (), call
            assert store.read_file(store.find_ref("x").digest, b"b") == b"b", call
            store.gc(grace=0)  # a variant stays until the links that could not be listed are gone
            assert left_over(store) == [], call


def test_verify_that_cannot_read_something_does_not_call_it_sound(source, stores, monkeypatch):
    # Which of several threads makes a call is another one each time.
    monkeypatch.setattr("volt_core.native.jobs.count_threads", lambda: 1)
    store = next(stores)
    store.linked_tree(store.put_directory(source, ref=Ref(name="x", digest="")).digest)

    def verify():
        if store.verify().damaged:
            raise StoreError("There is damage")

    kept = re.compile(rf"{store.path}/(?:objects|variants|trees|refs|links)[^\">]*")
    seen = set()
    for call, succeeded in failing_everywhere(verify, lambda: None, "EIO", store.path):
        if (found := kept.search(call.text)) and call.name in ("openat", "read", "pread64", "getdents64"):
            # A record that could be read before is sound, though a linked tree is not compared with it now.
            assert not succeeded or found[0] in seen, call
            seen.add(found[0])
