"""Promises about interruption: killed at any step, with no room left, and several processes at once."""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest

from volt_cas.layout import fan_out
from volt_cas.store import CasStore
from volt_core.contracts import CheckoutMode, Ref
from volt_core.errors import ObjectMissing, StoreFull
from volt_core.testing import host
from volt_core.testing.trees import differences

_EVENTS = ("open", "os.", "fcntl.", "ctypes.dlsym")
_POINTS = 25


def run_and_kill(act, point: int) -> bool:
    """Fork and run `act`, killed by SIGKILL before its `point`-th step; tell whether it came to the end before.

    A step is whatever Python's audit hooks see: opening, linking, renaming, removing, locking.
    """
    child = os.fork()
    if child == 0:
        steps = 0

        def hook(event: str, _: object) -> None:
            nonlocal steps
            if event.startswith(_EVENTS):
                steps += 1
                if steps == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            act()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


def kill_points(act, prepare):
    """Yield after killing `act` at points spread over its whole length, `prepare` having run before each."""
    low, high = 1, 1
    prepare()
    while not run_and_kill(act, high):
        prepare()
        high *= 2
    while low < high:  # the number of steps
        middle = (low + high) // 2
        prepare()
        if run_and_kill(act, middle):
            high = middle
        else:
            low = middle + 1
    step = max(1, low // _POINTS)
    for point in range(1, low, step):
        prepare()
        if run_and_kill(act, point):
            # gc looks into /proc, so the number of its steps varies with the processes of the host.
            assert point > low * 0.8
            return
        yield point


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    for name in ("a", "b", "sub/c"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "large").write_bytes(bytes(range(256)) * 6000)
    (top / "sub/hard").hardlink_to(top / "a")
    (top / "b").chmod(0o755)
    (top / "same").write_text("b")
    return top


def test_put_killed_anywhere_leaves_a_sound_store(source, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_text("kept")
    numbers = iter(range(10**6))
    current: list[CasStore] = []

    def prepare():
        current[:] = [CasStore(tmp_path / f"cas{next(numbers)}")]
        current[0].put_directory(other, ref=Ref(name="kept", digest=""))

    def put():
        current[0].put_directory(source, ref=Ref(name="x", digest=""))

    count = 0
    for _ in kill_points(put, prepare):
        count += 1
        (store,) = current
        assert store.verify().damaged == ()
        ref = store.find_ref("x")
        if ref is not None:
            store.checkout(ref.digest, tmp_path / f"out{next(numbers)}")
        assert store.gc(grace=0).dry_run is False
        assert not list((store.path / "tmp").iterdir())
        put()
        assert store.verify().damaged == ()
        assert store.read_file(store.find_ref("kept").digest, b"kept") == b"kept"
    assert count >= 15


def test_a_tree_that_can_be_named_is_whole_wherever_its_put_was_killed(source, tmp_path):
    digest = CasStore(tmp_path / "cas").put_directory(source).digest
    numbers = iter(range(10**6))
    current: list[CasStore] = []

    def prepare():
        current[:] = [CasStore(tmp_path / f"cas{next(numbers)}")]

    whole = 0
    for _ in kill_points(lambda: current[0].put_directory(source), prepare):
        (store,) = current
        try:
            store.set_ref(Ref(name="x", digest=digest))
        except ObjectMissing:
            continue
        whole += 1
        assert store.verify().damaged == ()
    assert whole


def test_what_is_named_is_durable_before_it_has_the_name(source, tmp_path):
    store = CasStore(tmp_path / "cas")

    def put():
        store.put_directory(source, ref=Ref(name="x", digest=""))

    steps = steps_of(put)
    digest = store.find_ref("x").digest
    top = "trees/" + fan_out(bytes.fromhex(digest.removeprefix("sha256:")))
    assert [step for step in steps if step in ("syncfs", top, "refs/x.json")] == [
        *("syncfs", "syncfs", top),
        *("syncfs", "refs/x.json"),
    ]
    links = [step for step in steps if step.startswith(("objects/", "trees/"))]
    assert len(links) == 8
    assert links[-1] == top
    assert steps.index(links[0]) > steps.index("syncfs")
    # What was there already may be another run's, and not durable yet.
    assert steps_of(put) == ["syncfs", "refs/x.json"]
    assert steps_of(lambda: store.set_ref(Ref(name="y", digest=digest))) == ["syncfs", "refs/y.json"]
    link = "links/" + digest.removeprefix("sha256:")
    assert [step for step in steps_of(lambda: store.linked_tree(digest)) if not step.startswith("variants/")] == [
        *("syncfs", link)
    ]


def steps_of(act) -> list[str]:
    """Fork and run `act`; return, in order, the final names that it gave and where it called syncfs."""
    reader, writer = os.pipe()

    def hook(event: str, arguments: tuple) -> None:
        if event == "ctypes.dlsym" and arguments[1] == "syncfs":
            os.write(writer, b"syncfs\n")
        elif event in ("os.link", "os.rename"):
            name = os.fsdecode(arguments[1]).rpartition("/cas/")[2]
            if re.match(r"(objects|trees|variants)/../|(refs|links)/", name):
                os.write(writer, name.encode() + b"\n")

    child = os.fork()
    if child == 0:
        sys.addaudithook(hook)
        _run(act)
    os.close(writer)
    with open(reader) as file:
        steps = file.read().splitlines()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # A name is tried again when its folder had to be made.
    return [step for step, after in itertools.pairwise([*steps, ""]) if step == "syncfs" or step != after]


def test_the_first_put_killed_anywhere_does_not_block_the_next(source, tmp_path):
    numbers = iter(range(10**6))
    current: list[Path] = []

    def prepare():
        current[:] = [tmp_path / f"cas{next(numbers)}"]

    for _ in kill_points(lambda: CasStore(current[0]).put_directory(source), prepare):
        store = CasStore(current[0])
        store.put_directory(source, ref=Ref(name="x", digest=""))
        assert store.verify().damaged == ()
        # What the dead process had staged went with the next one, gc or not.
        assert not list((store.path / "tmp").iterdir())


def test_checkout_and_linked_tree_killed_anywhere_leave_a_sound_store(source, tmp_path):
    store = CasStore(tmp_path / "cas")
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    numbers = iter(range(10**6))

    def act():
        store.checkout(digest, tmp_path / f"out{next(numbers)}", mode=CheckoutMode.LINK)
        store.linked_tree(digest)

    def prepare():
        next(numbers)
        for path in (store.path / "links").iterdir():
            path.rename(tmp_path / f"old{next(numbers)}")
        for path in [path for path in (store.path / "variants").rglob("*") if path.is_file()]:
            path.unlink()

    for _ in kill_points(act, prepare):
        assert store.verify().damaged == ()
        for path in (store.path / "links").iterdir():
            assert differences(source, path / "root", ignore={"hardlinks"}) == []
        assert differences(source, store.linked_tree(digest), ignore={"hardlinks"}) == []


def test_gc_interrupted_keeps_referenced_objects(source, tmp_path):
    numbers = iter(range(10**6))
    current: list[CasStore] = []
    kept = tmp_path / "kept"
    (kept / "sub").mkdir(parents=True)
    (kept / "sub/c").write_text("sub/c")  # shared with what goes
    (kept / "own").write_text("own")
    digests = {}

    def prepare():
        store = CasStore(tmp_path / f"cas{next(numbers)}")
        digests["kept"] = store.put_directory(kept, ref=Ref(name="kept", digest="")).digest
        digests["gone"] = store.put_directory(source).digest
        store.linked_tree(digests["gone"])
        current[:] = [store]

    for _ in kill_points(lambda: current[0].gc(grace=0), prepare):
        (store,) = current
        assert store.verify().damaged == ()
        assert store.read_file(digests["kept"], b"own") == b"own"
        # A top record that is still there has all that it names: another ref may take it.
        try:
            store.set_ref(Ref(name="again", digest=digests["gone"]))
        except ObjectMissing:
            pass
        else:
            assert store.verify().damaged == ()
            store.delete_ref("again")
        store.put_directory(source, ref=Ref(name="again", digest=""))
        assert store.verify().damaged == ()
        store.delete_ref("again")
        store.gc(grace=0)
        assert store.usage().trees == 3


def test_refs_killed_anywhere_have_the_old_or_the_new_value(source, tmp_path):
    store = CasStore(tmp_path / "cas")
    old = store.put_directory(source / "sub").digest
    new = store.put_directory(source).digest

    def prepare():
        store.set_ref(Ref(name="x/y", digest=old))

    def move():
        store.set_ref(Ref(name="x/y", digest=new))

    for _ in kill_points(move, prepare):
        assert store.find_ref("x/y").digest in (old, new)
        assert [ref.name for ref in store.refs()] == ["x/y"]
        assert store.ref_log("x/y")[-1].digest == store.find_ref("x/y").digest
        store.gc(grace=0)
        assert [path.name for path in (store.path / "refs").rglob("*") if path.is_file()] == ["y.json"]
        store.put_directory(source)  # gc took one of the two
        store.put_directory(source / "sub")


@pytest.mark.needs_loop_mount
def test_a_full_disk_is_an_error_that_leaves_the_store_as_it_was(tmp_path, held):
    (tmp_path / "big").mkdir()
    for number in range(8):
        (tmp_path / "big" / str(number)).write_bytes(os.urandom(4 << 20))
    (tmp_path / "small").mkdir()
    (tmp_path / "small/file").write_bytes(os.urandom(3 << 20))
    with host.loop_mounted("ext4", 24) as disk:
        store = CasStore(disk / "cas")
        digest = store.put_directory(tmp_path / "small", ref=Ref(name="x", digest="")).digest
        before = held(store.path)
        with pytest.raises(StoreFull, match="volt cas gc"):
            store.put_directory(tmp_path / "big", ref=Ref(name="x", digest=""))
        assert held(store.path) == before
        assert store.find_ref("x").digest == digest
        with (tmp_path / "big.tar").open("wb") as stream:
            other = CasStore(tmp_path / "cas")
            other.export_tar(other.put_directory(tmp_path / "big").digest, stream)
        with (tmp_path / "big.tar").open("rb") as stream, pytest.raises(StoreFull):
            store.put_tar(stream, ref=Ref(name="x", digest=""))
        assert held(store.path) == before
        with pytest.raises(StoreFull):
            fill_by_checkouts(store, digest, disk)
        made = sorted(disk.glob("out*"))
        assert len(made) < 10
        assert all(path.joinpath("file").stat().st_size == 3 << 20 for path in made)
        assert store.verify().damaged == ()
        assert store.gc(grace=0).objects == 0


def test_gc_beside_builds_takes_nothing_that_is_wanted(tmp_path):
    path = tmp_path / "cas"
    stop = tmp_path / "stop"
    sources = []
    for number in range(2):
        top = tmp_path / f"source{number}"
        top.mkdir()
        for name in range(20):
            (top / str(name)).write_text(f"{name % 10} {number if name < 5 else ''}")
        sources.append(top)
    CasStore(path).put_directory(sources[0], ref=Ref(name="first", digest=""))

    def build(number):
        store = CasStore(path)
        while not stop.exists():
            digest = store.put_directory(sources[number], ref=Ref(name=f"r{number}", digest="")).digest
            assert store.read_file(digest, b"7") == b"7 "
            store.linked_tree(digest)
            store.delete_ref(f"r{number}")

    def collect():
        while not stop.exists():
            CasStore(path).gc(grace=0)

    children = [os.fork() or _run(act) for act in (lambda: build(0), lambda: build(1), collect)]
    timer = threading.Timer(3, stop.touch)
    timer.start()
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    timer.join()
    assert statuses == [0, 0, 0]
    store = CasStore(path)
    assert store.verify().damaged == ()
    assert store.read_file(store.find_ref("first").digest, b"7") == b"7 "


def fill_by_checkouts(store, digest, disk):
    for number in range(10):
        store.checkout(digest, disk / f"out{number}", mode=CheckoutMode.COPY)


def _run(act):
    try:
        act()
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
