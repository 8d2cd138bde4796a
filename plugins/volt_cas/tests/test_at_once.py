"""Builds, checkouts, refs and gc at once, in threads and in processes: nothing is lost, nothing is wrong.

Some thousand rounds on a tiny tree in a few seconds; ``VOLT_TEST_LONG=SECONDS`` lets each test run that long.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sys
import threading
import time

import pytest

from volt_cas.store import CasStore
from volt_core.contracts import CheckoutMode, Ref
from volt_core.errors import ObjectMissing

pytestmark = pytest.mark.usefixtures("engine")
_SECONDS = float(os.environ.get("VOLT_TEST_LONG", "2"))
_NAMES = 12
_MODES = (CheckoutMode.AUTO, CheckoutMode.COPY, CheckoutMode.LINK)


def fill(top, seed):
    """Make or change a tree; what different trees have is mostly the same."""
    (top / "sub").mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    for name in range(_NAMES):
        path = top / "sub" / str(name)
        path.write_text(f"{name} {rng.randrange(3)}")
        path.chmod(rng.choice([0o644, 0o755]))


def is_right(text, name):
    return text in {f"{name} {number}" for number in range(3)}


class Actors:
    """What several do at once on one store, each with its own :class:`CasStore`; each act is one round."""

    def __init__(self, top):
        self.top = top
        self.cas = top / "cas"
        fill(top / "kept", 0)
        CasStore(self.cas).put_directory(top / "kept", ref=Ref(name="kept", digest=""))

    def build(self, number, round_):
        store, source = CasStore(self.cas), self.top / f"source{number}"
        fill(source, round_ * 2 + number)
        ref = f"r/{number}"
        digest = store.put_directory(source, ref=Ref(name=ref, digest="")).digest
        for name in (0, _NAMES - 1):
            assert store.read_file(digest, b"sub/%d" % name) == (source / f"sub/{name}").read_bytes()
        assert store.find_ref(ref).digest == digest
        if round_ % 3 == 0:
            store.delete_ref(ref)

    def put_and_name(self, round_):
        """Name a tree after it was put, as two commands do: gc may have taken it, never a part of it."""
        store, source = CasStore(self.cas), self.top / "source-named"
        fill(source, round_)
        digest = store.put_directory(source).digest
        try:
            store.set_ref(Ref(name="named", digest=digest))
        except ObjectMissing:
            return
        assert all(is_right(store.read_file(digest, b"sub/%d" % name).decode(), name) for name in range(_NAMES))

    def check_out(self, round_):
        store = CasStore(self.cas)
        digest = store.find_ref("kept").digest
        out = self.top / f"out-{threading.get_ident()}-{os.getpid()}"
        store.checkout(digest, out, mode=_MODES[round_ % 3])
        for folder in (out, store.linked_tree(digest)):
            for name in range(_NAMES):
                assert (folder / f"sub/{name}").read_bytes() == (self.top / f"kept/sub/{name}").read_bytes()
        shutil.rmtree(out)

    def collect(self, round_):
        store = CasStore(self.cas)
        store.gc(grace=0)
        if round_ % 4 == 0:
            assert store.verify().damaged == ()

    def all(self):
        yield lambda round_: self.build(0, round_)
        yield lambda round_: self.build(1, round_)
        yield self.put_and_name
        yield self.check_out
        yield self.collect


def repeat(act, until):
    for round_ in itertools.count():
        if time.monotonic() > until:
            return round_
        act(round_)
        time.sleep(0.001)  # gc needs a moment in which nobody is in the store
    return 0


def check(top, rounds):
    assert len(rounds) == 5
    assert all(rounds), rounds
    store = CasStore(top / "cas")
    assert store.verify().damaged == ()
    store.gc(grace=0)
    assert store.verify().damaged == ()
    assert not list((store.path / "tmp").iterdir())
    kept = store.find_ref("kept").digest
    assert store.read_file(kept, b"sub/7") == (top / "kept/sub/7").read_bytes()


def test_processes_at_once(memory_path):
    actors = Actors(memory_path)
    reader, writer = os.pipe()
    until = time.monotonic() + _SECONDS
    children = []
    for act in actors.all():
        child = os.fork()
        if not child:
            status = 1
            try:
                os.write(writer, b"%d\n" % repeat(act, until))
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        children.append(child)
    os.close(writer)
    with open(reader) as file:
        rounds = [int(line) for line in file]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 5
    check(memory_path, rounds)


def test_threads_at_once(memory_path):
    actors = Actors(memory_path)
    until = time.monotonic() + _SECONDS
    rounds, errors = [], []

    def work(act):
        try:
            rounds.append(repeat(act, until))
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=[act]) for act in actors.all()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    check(memory_path, rounds)
