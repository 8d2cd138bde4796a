"""A put makes whole folders where the store has none; somebody else may make them meanwhile."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from volt_cas import writer
from volt_cas.store import CasStore
from volt_core.contracts import Ref
from volt_core.testing.syscalls import run_failing
from volt_core.testing.trees import differences

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def trees(memory_path):
    """Two trees whose objects belong into one folder; one of these they share."""
    texts = (f"text {number}" for number in itertools.count())
    alike = (text for text in texts if hashlib.sha256(text.encode()).hexdigest().startswith("ab"))
    shared, *own = itertools.islice(alike, 3)
    made = []
    for number, text in enumerate(own):
        top = memory_path / f"tree{number}"
        top.mkdir()
        (top / "shared").write_text(shared)
        (top / "own").write_text(text)
        (top / "large").write_bytes(bytes(range(256)) * 20000)
        made.append(top)
    return made


def put(store, tree):
    return store.put_directory(tree, ref=Ref(name=tree.name, digest="")).digest


def test_what_another_put_was_quicker_with_is_joined(trees, memory_path, monkeypatch):
    store = CasStore(memory_path / "cas")
    original = writer.publish

    def publish(staging, place):
        monkeypatch.setattr(writer, "publish", original)
        put(CasStore(store.path), trees[1])
        original(staging, place)

    monkeypatch.setattr(writer, "publish", publish)
    put(store, trees[0])
    assert len(list((store.path / "objects/ab").iterdir())) == 3
    assert store.verify().damaged == ()
    assert not list((store.path / "tmp").iterdir())
    for tree in trees:
        out = memory_path / f"out-{tree.name}"
        store.checkout(store.find_ref(tree.name).digest, out)
        assert differences(tree, out) == []


@pytest.mark.needs_strace
@pytest.mark.parametrize("engine", ["c"], indirect=True)
@pytest.mark.parametrize("number", [1, 2])
def test_a_file_system_that_cannot_rename_without_replacing(trees, memory_path, monkeypatch, number):
    # Which of several threads makes a call is another one each time.
    monkeypatch.setattr("volt_core.native.staging.count_threads", lambda: 1)
    store = CasStore(memory_path / "cas")
    assert run_failing(lambda: put(store, trees[0]), "renameat2", number, "EINVAL")
    assert store.verify().damaged == ()
    assert len(list(store.path.glob("objects/ab/*"))) == 2
    assert put(CasStore(memory_path / "other"), trees[0]) == store.find_ref(trees[0].name).digest
