"""Verify and gc by the extension and by Python say the same, whatever the store has gone through."""

from __future__ import annotations

import os
import shutil
import time
from random import Random

import pytest

from volt_cas import record
from volt_cas.layout import fan_out
from volt_cas.record import DirectoryEntry, DirectoryRecord, LinksRecord, Metadata, TreeRecord
from volt_core import native
from volt_core.contracts import CheckoutMode, Ref
from volt_core.errors import StoreError
from volt_core.testing import host
from volt_core.testing.phases import Phases

METADATA = Metadata(0o755, 0, 0, 0, 0)


@pytest.fixture
def by_both(monkeypatch):
    """Run something on both engines; the results must be equal."""
    host.require("native")

    def run(act):
        with monkeypatch.context() as patch:
            patch.setattr(native, "find_extension", lambda: None)
            by_python = act()
        assert native.find_extension() is not None
        assert act() == by_python
        return by_python

    return run


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    (top / "sub/deeper").mkdir(parents=True)
    for name, text in (("a", "one"), ("b", "one"), ("sub/file", "content"), ("sub/deeper/z", "z"), ("empty", "")):
        (top / name).write_text(text)
    (top / "b").chmod(0o755)  # a variant in linked checkouts
    os.link(top / "sub/file", top / "sub/same")
    (top / "link").symlink_to("a")
    return top


@pytest.fixture
def filled(store, source):
    """A store with a tree under two names, its linked checkout, and a variant."""
    digest = store.put_directory(source, ref=Ref(name="images/x:1", digest="")).digest
    store.set_ref(Ref(name="y", digest=digest))
    store.linked_tree(digest)
    return store


def stored(store, path):
    """The file of the content, or of the record, of a path in the tree."""
    tree = store.find_ref("y").digest
    digest = next(store.entries(tree, path)).digest if path else tree
    folder = "objects" if path in (b"sub/file", b"a", b"sub/deeper/z") else "trees"
    return store.path / folder / fan_out(bytes.fromhex(digest.removeprefix("sha256:")))


def variant(store):
    return next(path for path in (store.path / "variants").rglob("*") if path.is_file())


def flip(path):
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def replace(path, make):
    path.unlink()
    make(path)


def add_record(store, value):
    data = record.encode(value)
    digest = record.address(data)
    path = store.path / "trees" / fan_out(digest)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return digest


def strange_files(store):
    """Lay down what does not belong into a store, beside what does."""
    (store.path / "objects/README").write_text("x")
    (store.path / "objects/zz").mkdir()
    (store.path / "objects/ab").write_text("no directory") if not (store.path / "objects/ab").exists() else None
    file = stored(store, b"a")
    (file.parent / "short").write_text("x")
    (file.parent / (file.name + ".1")).write_text("x")
    (file.parent / file.name.upper()).write_text("x") if file.name.upper() != file.name else None
    (variant(store).parent / (variant(store).name + ".x")).write_text("x")


DAMAGE = {
    "nothing": (lambda store: None, []),
    "strange files": (strange_files, []),
    "a flipped object": (
        lambda store: flip(stored(store, b"sub/file")),
        ["its content does not match", "'sub/file' in y"],
    ),
    "a cut object": (lambda store: os.truncate(stored(store, b"a"), 1), ["its content does not match"]),
    "a missing object": (lambda store: stored(store, b"sub/deeper/z").unlink(), ["is missing", "'sub/deeper/z' in y"]),
    "a fifo": (lambda store: replace(stored(store, b"a"), os.mkfifo), ["cannot be read: Invalid argument"]),
    "a directory": (lambda store: replace(stored(store, b"a"), os.mkdir), ["cannot be read: Invalid argument"]),
    "a link": (
        lambda store: replace(stored(store, b"a"), lambda path: path.symlink_to("/dev/zero")),
        ["cannot be read"],
    ),
    "a flipped variant": (lambda store: flip(variant(store)), ["variant"]),
    "a fifo for a variant": (lambda store: replace(variant(store), os.mkfifo), ["variant", "cannot be read", "linked"]),
    "a flipped record": (lambda store: flip(stored(store, b"sub")), ["tree record", "does not match", "used by"]),
    "a flipped top": (lambda store: flip(stored(store, b"")), ["tree record", "does not match", "used by"]),
    "a missing record": (lambda store: stored(store, b"sub").unlink(), ["tree record", "used by images/x:1, y"]),
    "a missing top": (lambda store: stored(store, b"").unlink(), ["tree record", "used by images/x:1, y"]),
    "a fifo for a record": (
        lambda store: replace(stored(store, b"sub"), os.mkfifo),
        ["cannot be read: Invalid argument", "used by images/x:1, y"],
    ),
    "unsorted entries": (
        lambda store: add_record(store, DirectoryRecord((DirectoryEntry(b"b", METADATA, bytes(32)),) * 2)),
        ["its entries are not sorted", "no ref uses it"],
    ),
    "bad links": (lambda store: add_record(store, LinksRecord(((b"a",),))), ["a hard-link group is not sorted"]),
    "a child missing, unused": (
        lambda store: add_record(store, DirectoryRecord((DirectoryEntry(b"b", METADATA, bytes(32)),))),
        [],
    ),
    "a damaged ref": (lambda store: (store.path / "refs/y.json").write_text("{"), ["refs/y.json' is damaged"]),
    "two things": (
        lambda store: (flip(stored(store, b"a")), flip(variant(store)), stored(store, b"sub/file").unlink()),
        ["variant", "does not match", "is missing"],
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_verify_says_the_same(filled, by_both, what):
    damage, words = DAMAGE[what]
    damage(filled)
    report = by_both(filled.verify)
    told = "\n".join(report.damaged)
    assert bool(told) == bool(words)
    for word in words:
        assert word in told


@pytest.mark.parametrize("kind", ["object", "top record", "links record"])
def test_a_record_that_names_another_kind_is_damage(filled, by_both, kind):
    """What no record can tell alone, for its own content is sound."""
    tree = record.decode(stored(filled, b"").read_bytes(), b"")
    top = bytes.fromhex(filled.find_ref("y").digest.removeprefix("sha256:"))
    wrong = {"object": record.address(b"one"), "top record": top, "links record": tree.links}[kind]
    digest = add_record(filled, TreeRecord(METADATA, wrong))
    ref = filled.path / "refs/y.json"
    ref.write_text(ref.read_text().replace(top.hex(), digest.hex()))
    (line,) = by_both(filled.verify).damaged
    assert digest.hex() in line
    assert "used by y" in line


def test_a_tree_that_is_too_deep_is_damage(filled, by_both):
    digest = add_record(filled, DirectoryRecord(()))
    for _ in range(4096):
        digest = add_record(filled, DirectoryRecord((DirectoryEntry(b"d", METADATA, digest),)))
    assert by_both(filled.verify).damaged == ()  # no ref names it
    top = add_record(filled, TreeRecord(METADATA, digest))
    ref = filled.path / "refs/y.json"
    ref.write_text(ref.read_text().replace(filled.find_ref("y").digest, f"sha256:{top.hex()}"))
    (line,) = by_both(filled.verify).damaged
    assert "too deep" in line


def mutated(data, random):
    """Change a record a little, so that much of it stays plausible."""
    at = random.randrange(len(data))
    end = min(len(data), at + random.randrange(1, 9))
    return random.choice(
        [
            data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :],
            data[:at] + data[end:],
            data[:at] + data[at:end] * 2 + data[end:],
            data[:at],
            data[:at] + random.randbytes(1) + data[at:],
        ]
    )


def test_both_read_the_same_records(store, awkward, by_both):
    """Each record lies under its true digest, so that all depends on what is in it."""
    store.put_directory(awkward, ref=Ref(name="x", digest=""))
    paths = [b"a", b"a-b", b"a/b", b"c", b"d/e/f", b"g"]
    add_record(store, LinksRecord(((b"a", b"a-b"), (b"a/b", b"c", b"d/e/f"))))
    for name in (b".", b"..", b"a//b", b"/a", b"a/", b"a\0", b"a" * 256, b"b/" + b"a" * 255, b""):
        add_record(store, LinksRecord((tuple(sorted((name, b"z"))),)))
    for groups in (((b"b", b"a"),), ((b"c", b"d"), (b"a", b"b")), ((b"a", b"b"), (b"b", b"c")), ((), (b"a", b"b")), ()):
        add_record(store, LinksRecord(groups))
    random = Random(4)
    for _ in range(50):
        chosen = random.sample(paths, 4)
        add_record(store, LinksRecord((tuple(chosen[:2]), tuple(chosen[2:]))))
    sound = [path.read_bytes() for path in sorted((store.path / "trees").rglob("*")) if path.is_file()]
    for _ in range(3000):
        data = mutated(random.choice(sound), random)
        path = store.path / "trees" / fan_out(record.address(data))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    report = by_both(store.verify)
    assert report.trees > 2500
    assert 1500 < len(report.damaged) < report.trees


CHANGES = {
    "two of them": lambda top: ((top / "a").unlink(), (top / "sub/new").touch()),
    "in two directories": lambda top: ((top / "sub/deeper/z").unlink(), (top / "zz").mkdir()),
    "another type": lambda top: ((top / "link").unlink(), (top / "link").mkdir()),
    "a copy": lambda top: (shutil.copy(top / "a", top / "c"), (top / "c").replace(top / "a")),
    "another variant": lambda top: ((top / "a").unlink(), os.link(top / "b", top / "a")),
    "names that sort strangely": lambda top: [(top / name).touch() for name in ("sub.", "sub-", "a\n", "\udcff")],
    "all gone": lambda top: shutil.rmtree(top),
    "no directory": lambda top: (shutil.rmtree(top), top.touch()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_linked_trees_differ_in_the_same(filled, by_both, what):
    CHANGES[what](filled.linked_tree(filled.find_ref("y").digest))
    damaged = by_both(filled.verify).damaged
    # Of equal files, each may have the inode of the other: contents are compared.
    assert len(damaged) == (what != "another variant")
    assert all(line.startswith("linked tree ") for line in damaged)


def test_progress_is_told_alike(filled, by_both):
    def act():
        progress = Phases()
        report = filled.verify(progress=progress)
        assert report.bytes == 3 + 7 + 1 + 3
        assert progress.notes == []
        return progress.phases

    assert by_both(act) == [["Verifying", 14, 14, 4]]


def test_an_interrupt_ends_a_verification(filled):
    class Interrupted(Phases):
        def begin(self, what, total_bytes=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled.verify(progress=Interrupted())
    assert filled.verify().damaged == ()


def grown(store, source):
    """Give the store trees that nothing names, an old one, a young one, and a damaged one; and a doomed checkout.

    Return a time between old and young.
    """
    (source / "a").write_text("former")
    former = store.put_directory(source, ref=Ref(name="former", digest="")).digest
    store.linked_tree(former)
    store.delete_ref("former")
    time.sleep(0.05)
    between = time.time()
    time.sleep(0.05)
    (source / "a").write_text("one")
    (source / "sub/file").write_text("young")
    store.put_directory(source)
    (source / "sub/deeper/z").write_text("damaged")
    damaged = store.put_directory(source).digest
    record_of = next(store.entries(damaged, b"sub/deeper")).digest.removeprefix("sha256:")
    (store.path / "trees" / fan_out(bytes.fromhex(record_of))).unlink()
    return between


@pytest.mark.parametrize("what", ["all", "the old", "nothing"])
def test_gc_chooses_and_removes_the_same(filled, source, by_both, held, monkeypatch, what):
    between = grown(filled, source)
    now = {"all": time.time() + 60, "the old": between, "nothing": 0.0}[what]
    monkeypatch.setattr(time, "time", lambda: now)
    report = by_both(lambda: filled.gc(dry_run=True, grace=0))
    assert bool(report.objects) == (what != "nothing")
    assert bool(report.kept_young) == (what != "all")
    before = held(filled.path)
    wet = filled.gc(grace=0)
    assert (wet.removed, wet.bytes, wet.kept_young) == (report.removed, report.bytes, report.kept_young)
    gone = before.keys() - held(filled.path).keys()
    counted = {path for path in gone if path.startswith(("objects/", "trees/", "variants/"))}
    assert len(counted) == wet.objects + wet.trees + wet.variants
    assert sum(before[path] for path in counted) == wet.bytes
    assert filled.verify().damaged == ()
    assert filled.read_file(filled.find_ref("y").digest, b"sub/file") == b"content"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_gc_spares_the_same_former_trees(filled, source, by_both, count):
    for text in ("former", "damaged", "newest"):
        (source / "a").write_text(text)
        filled.put_directory(source, ref=Ref(name="y", digest=""))
    damaged = filled.ref_log("y")[-2].digest.removeprefix("sha256:")
    (filled.path / "trees" / fan_out(bytes.fromhex(damaged))).unlink()
    report = by_both(lambda: filled.gc(dry_run=True, grace=0, keep_last=count))
    assert report.objects == {0: 2, 1: 2, 2: 1}[count]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda path: path.unlink(), lambda path: replace(path, os.mkfifo), lambda path: path.write_bytes(b"")],
)
def test_gc_stops_at_damage_with_the_same_words(filled, by_both, held, damage):
    damage(stored(filled, b"sub"))
    before = held(filled.path)

    def act():
        with pytest.raises(StoreError) as caught:
            filled.gc(grace=0)
        return str(caught.value), caught.value.hint

    by_both(act)
    assert held(filled.path) == before


def test_gc_of_many_removes_each_of_them(store, tmp_path, by_both):
    top = tmp_path / "many"
    for number in range(600):
        folder = top / str(number % 40)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_text(str(number))
    kept = store.put_directory(top, ref=Ref(name="kept", digest="")).digest
    for number in range(300):
        (top / str(number % 40) / str(number)).write_text(f"other {number}")
    store.put_directory(top)
    store.checkout(kept, tmp_path / "out", mode=CheckoutMode.LINK)
    report = by_both(lambda: store.gc(dry_run=True, grace=0))
    assert (report.objects, report.trees) == (300, 42)
    assert store.gc(grace=0) == type(report)(
        dry_run=False,
        objects=300,
        trees=42,
        variants=0,
        bytes=report.bytes,
        removed=report.removed,
    )
    assert by_both(store.verify).objects == 600
    assert by_both(lambda: store.gc(grace=0)).removed == ()
