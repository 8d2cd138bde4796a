"""Promises about interruption: killed before any change of the file system, and what is durable before what."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil

import pytest

from volt_cas.layout import fan_out
from volt_cas.store import CasStore
from volt_core import native
from volt_core.contracts import CheckoutMode, Ref
from volt_core.errors import ObjectMissing
from volt_core.testing.syscalls import in_two, killed_everywhere, trace
from volt_core.testing.trees import differences

pytestmark = [pytest.mark.needs_strace, pytest.mark.usefixtures("engine")]
_STEPS = ("link", "linkat", "rename", "renameat", "renameat2", "syncfs")
_NAMED = re.compile(r"(?:objects|trees|variants)/..(?:/[0-9a-f.]+)?|(?:links|refs)/[^/.]\S*")


@pytest.fixture
def source(memory_path):
    top = memory_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "a").write_text("a")
    (top / "sub/b").write_text("b")
    (top / "sub/b").chmod(0o755)
    (top / "sub/hard").hardlink_to(top / "a")
    (top / "same").write_text("b")
    (top / "large").write_bytes(bytes(range(256)) * 5000)
    return top


@pytest.fixture
def stores(memory_path, half_used):
    """Empty stores, as many as are asked for."""
    return (half_used(memory_path / str(os.getpid()) / f"cas{number}") for number in itertools.count())


def test_put_killed_anywhere_leaves_a_sound_store(source, stores, memory_path, left_over):
    other = memory_path / "other"
    other.mkdir()
    (other / "kept").write_text("kept")
    with in_two() as half:

        def prepare():
            nonlocal store
            store = next(stores)
            store.put_directory(other, ref=Ref(name="kept", digest=""))

        def put():
            store.put_directory(source, ref=Ref(name="x", digest=""))

        store, count = None, 0
        for _ in killed_everywhere(put, prepare, half=half):
            count += 1
            assert store.verify().damaged == ()
            ref = store.find_ref("x")
            if ref is not None:
                store.checkout(ref.digest, memory_path / f"out-{os.getpid()}-{count}")
                assert differences(source, memory_path / f"out-{os.getpid()}-{count}") == []
            store.gc(grace=0)
            assert left_over(store) == []
            put()
            assert store.verify().damaged == ()
            assert store.read_file(store.find_ref("kept").digest, b"kept") == b"kept"
        assert count >= 10


def test_a_put_that_adopts_killed_anywhere_leaves_source_and_store_sound(stores, memory_path, left_over):
    original = memory_path / "original"
    (original / "sub").mkdir(parents=True)
    (original / "sub/a").write_text("a")
    (original / "large").write_bytes(bytes(range(256)) * 5000)
    with in_two() as half:
        source = memory_path / f"source-{os.getpid()}"

        def prepare():
            nonlocal store
            store = next(stores)
            shutil.rmtree(source, ignore_errors=True)
            shutil.copytree(original, source)

        def put():
            return store.put_directory(source, ref=Ref(name="x", digest=""), adopt=True).digest

        store, digest = None, next(stores).put_directory(original).digest
        for _ in killed_everywhere(put, prepare, half=half):
            assert differences(original, source) == []
            assert store.verify().damaged == ()
            assert put() == digest
            store.gc(grace=0)
            assert left_over(store) == []
            assert store.verify().damaged == ()
            assert differences(original, source) == []


def test_a_tree_that_can_be_named_is_whole_wherever_its_put_was_killed(source, stores):
    digest = next(stores).put_directory(source).digest

    def prepare():
        nonlocal store
        store = next(stores)

    store, whole = None, 0
    for _ in killed_everywhere(lambda: store.put_directory(source), prepare):
        with contextlib.suppress(ObjectMissing):
            store.set_ref(Ref(name="x", digest=digest))
            whole += 1
        assert store.verify().damaged == ()
    assert whole


def test_the_first_put_killed_anywhere_does_not_block_the_next(source, memory_path, left_over):
    with in_two() as half:
        numbers = itertools.count()
        path = None

        def prepare():
            nonlocal path
            path = memory_path / f"cas-{os.getpid()}-{next(numbers)}"

        for _ in killed_everywhere(lambda: CasStore(path).put_directory(source), prepare, half=half):
            store = CasStore(path)
            store.put_directory(source, ref=Ref(name="x", digest=""))
            assert store.verify().damaged == ()
            # What the dead process had staged went with the next one, gc or not.
            assert not [entry for entry in (path / "tmp").iterdir() if entry.is_dir()]
            store.gc(grace=0)
            assert left_over(store) == []


def test_checkout_and_linked_tree_killed_anywhere_leave_a_sound_store(source, stores, memory_path, left_over):
    with in_two() as half:
        store = next(stores)
        digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
        numbers = itertools.count()

        def act():
            store.linked_tree(digest)
            store.checkout(digest, memory_path / f"out-{os.getpid()}-{next(numbers)}", mode=CheckoutMode.LINK)

        def prepare():
            next(numbers)
            for path in (store.path / "links").iterdir():
                path.rename(memory_path / f"old-{os.getpid()}-{next(numbers)}")
            for path in [path for path in (store.path / "variants").rglob("*") if path.is_file()]:
                path.unlink()

        for _ in killed_everywhere(act, prepare, half=half):
            assert store.verify().damaged == ()
            for path in (store.path / "links").iterdir():
                assert differences(source, path / "root", ignore={"hardlinks"}) == []
            store.gc(grace=0)
            assert left_over(store) == []
            assert differences(source, store.linked_tree(digest), ignore={"hardlinks"}) == []


def test_gc_killed_anywhere_keeps_what_is_referenced(source, stores, memory_path, left_over):
    kept = memory_path / "kept"
    (kept / "sub").mkdir(parents=True)
    (kept / "sub/c").write_text("b")  # shared with what goes
    (kept / "own").write_text("own")
    with in_two() as half:
        digests = {}

        def prepare():
            nonlocal store
            store = next(stores)
            digests["kept"] = store.put_directory(kept, ref=Ref(name="kept", digest="")).digest
            digests["gone"] = store.put_directory(source).digest
            store.linked_tree(digests["gone"])
            (store.path / "tmp/run-1").mkdir()  # of a process that died
            (store.path / "tmp/run-1/x").touch()

        store = None
        for _ in killed_everywhere(lambda: store.gc(grace=0), prepare, half=half):
            assert store.verify().damaged == ()
            assert store.read_file(digests["kept"], b"own") == b"own"
            # A top record that is still there has all that it names: another ref may take it.
            with contextlib.suppress(ObjectMissing):
                store.set_ref(Ref(name="again", digest=digests["gone"]))
                assert store.verify().damaged == ()
                store.delete_ref("again")
            store.put_directory(source, ref=Ref(name="again", digest=""))
            assert store.verify().damaged == ()
            store.delete_ref("again")
            store.gc(grace=0)
            assert left_over(store) == []
            assert store.usage().trees == 3


def test_refs_killed_anywhere_have_the_old_or_the_new_value(source, stores, left_over):
    store = next(stores)
    old = store.put_directory(source / "sub", ref=Ref(name="old", digest="")).digest
    new = store.put_directory(source, ref=Ref(name="new", digest="")).digest
    values = {old, new, None}

    def prepare():
        store.set_ref(Ref(name="x/y", digest=old))

    def act():
        store.set_ref(Ref(name="x/y", digest=new))
        store.delete_ref("x/y")
        store.set_ref(Ref(name="use/container/z", digest=new))
        store.delete_ref("use/container/z")

    seen = set()
    for _ in killed_everywhere(act, prepare):
        ref = store.find_ref("x/y")
        seen.add(ref and ref.digest)
        assert store.ref_log("x/y")[-1].digest == (ref and ref.digest)
        assert store.verify().damaged == ()
        store.gc(grace=0)
        assert left_over(store) == []
    assert seen == values


def test_verify_and_reading_change_nothing(source, stores):
    store = next(stores)
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    store.linked_tree(digest)

    def act():
        assert store.verify().damaged == ()
        assert len(list(store.entries(digest))) == 7
        assert store.read_file(digest, b"a") == b"a"
        assert store.usage().refs == len(list(store.refs())) == 1
        assert store.gc(dry_run=True, grace=0).removed == ()

    act()
    changes = list(killed_everywhere(act, lambda: None))
    # The locks are made if they are missing; they are opened the same way when they are there.
    assert {re.search(r'"([^"]*)"', call.text)[1] for call in changes} == {str(store.path / "lock")}


def test_what_is_named_is_durable_before_it_has_the_name(source, stores):
    store = next(stores)

    def put():
        store.put_directory(source, ref=Ref(name="x", digest=""))

    steps = steps_of(put)
    digest = store.find_ref("x").digest
    top = "trees/" + fan_out(bytes.fromhex(digest.removeprefix("sha256:")))
    assert [step for step in steps if step in ("syncfs", top, "refs/x.json")] == [
        *("syncfs", "syncfs", top),
        *("syncfs", "refs/x.json"),
    ]
    moved = [step for step in steps if step.startswith(("objects/", "trees/"))]
    assert len([path for path in stored_in(store) if path in moved or path.rpartition("/")[0] in moved]) == 7
    assert moved[-1] == top
    assert steps.index(moved[0]) > steps.index("syncfs")
    # The extension moves whole folders, where there were none.
    assert {step.count("/") for step in moved} == ({1, 2} if native.find_extension() else {2})
    # What was there already may be another run's, and not durable yet.
    assert steps_of(put) == ["syncfs", "refs/x.json"]
    assert steps_of(lambda: store.set_ref(Ref(name="y", digest=digest))) == ["syncfs", "refs/y.json"]
    link = "links/" + digest.removeprefix("sha256:")
    steps = [
        "variant" if step.startswith("variants/") else step for step in steps_of(lambda: store.linked_tree(digest))
    ]
    assert [step for step, _ in itertools.groupby(steps)] == ["syncfs", "variant", "syncfs", link]


def stored_in(store):
    """Return the paths of all objects and records below the store."""
    files = itertools.chain(*((store.path / kind).glob("*/*") for kind in ("objects", "trees")))
    return [str(path.relative_to(store.path)) for path in files]


def steps_of(act) -> list[str]:
    """Return, in order, the final names that `act` gave and where it called syncfs."""
    steps = []
    for call in trace(act, _STEPS):
        if " = -1 " in call.text:
            continue
        # The last path is what the call made: below a descriptor, whose own path is that of the store.
        path = re.findall(r'"([^"]*)"', call.text)[-1].rpartition("/cas0/")[2] if call.name != "syncfs" else ""
        if call.name == "syncfs" or _NAMED.fullmatch(path):
            steps.append(path or "syncfs")
    return steps
