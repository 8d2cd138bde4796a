"""What gc keeps and why, and how damage is told."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from volt_cas.layout import fan_out
from volt_core import run
from volt_core.contracts import CheckoutMode, Ref
from volt_core.errors import InvalidName, Locked, RefNotFound, StateCorrupt, StateTooNew, StoreError
from volt_core.images.manager import Images

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "sub/file").write_text("content")
    (top / "empty").touch()
    return top


def object_file(store, content_digest):
    return store.path / "objects" / fan_out(bytes.fromhex(content_digest.removeprefix("sha256:")))


def file_digest(store, digest):
    return next(store.entries(digest, b"sub/file")).digest


def flip(path):
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


DAMAGE = {
    "a flipped byte": (flip, "does not match its digest"),
    "a truncation": (lambda path: os.truncate(path, 2), "does not match its digest"),
    "a removed object": (lambda path: path.unlink(), "is missing"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_verify_names_the_damage_the_file_and_the_ref(store, source, what):
    digest = store.put_directory(source, ref=Ref(name="images/x:1", digest="")).digest
    damage, words = DAMAGE[what]
    damage(object_file(store, file_digest(store, digest)))
    (line,) = store.verify().damaged
    for word in (file_digest(store, digest), words, "'sub/file' in images/x:1"):
        assert word in line


@pytest.mark.parametrize("what", DAMAGE)
def test_what_verify_advises_heals(store, source, what):
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    DAMAGE[what][0](object_file(store, file_digest(store, digest)))
    (line,) = store.verify().damaged
    advice = line.split("; ")[1]
    assert advice.endswith("put the tree again")
    if advice.startswith("repair the store, then "):
        store.verify(repair=True)
    store.put_directory(source)
    assert store.verify().damaged == ()


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("how", [flip, lambda path: path.unlink(), lambda path: os.truncate(path, 1)])
def test_verify_finds_a_damaged_record_and_the_ref(store, source, top, how):
    digest = store.put_directory(source, ref=Ref(name="images/x:1", digest="")).digest
    record = digest if top else next(store.entries(digest, b"sub")).digest
    how(store.path / "trees" / fan_out(bytes.fromhex(record.removeprefix("sha256:"))))
    damaged = "\n".join(store.verify().damaged)
    assert record in damaged
    assert "images/x:1" in damaged
    with pytest.raises(StoreError, match="images/x:1"):
        store.gc(grace=0)
    # Putting the tree again heals it.
    assert store.put_directory(source).digest == digest
    assert store.verify().damaged == ()
    assert store.gc(grace=0).objects == 0


def test_verify_finds_a_damaged_variant(store, source, tmp_path):
    (source / "other").write_text("content")
    (source / "other").chmod(0o755)
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    store.checkout(digest, tmp_path / "out", mode=CheckoutMode.LINK)
    (variant,) = (path for path in (store.path / "variants").rglob("*") if path.is_file())
    flip(variant)
    (line,) = store.verify().damaged
    assert "variant" in line


def test_gc_keeps_former_values_of_no_ref_and_says_why(store, source):
    old = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    (source / "sub/file").write_text("new content")
    store.put_directory(source, ref=Ref(name="x", digest=""))
    report = store.gc(dry_run=True, grace=0)
    assert (report.objects, report.trees, report.dry_run) == (1, 3, True)
    assert f"tree {old}" in report.removed[0]  # top records before what they name
    assert all("no ref reaches it" in line for line in report.removed)
    assert store.read_file(old, b"sub/file") == b"content"
    assert store.gc(grace=0).objects == 1


def test_a_use_of_an_image_keeps_it(store, source):
    digest = store.put_directory(source, ref=Ref(name="images/x:1", digest="")).digest
    store.set_ref(Ref(name="use/container/web", digest=digest))
    store.delete_ref("images/x:1")
    assert store.gc(grace=0).objects == 0
    store.delete_ref("use/container/web")
    assert store.gc(grace=0).objects == 1
    # The log of an image stays, that of a use would only pile up.
    assert store.ref_log("images/x:1")[-1].digest is None
    assert store.ref_log("use/container/web") == ()


def test_variants_go_when_nothing_links_to_them(store, source, tmp_path):
    (source / "other").write_text("content")
    (source / "other").chmod(0o755)
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    store.checkout(digest, tmp_path / "out", mode=CheckoutMode.LINK)
    assert store.gc(grace=0).variants == 0
    (tmp_path / "out/other").unlink()
    (tmp_path / "out/sub/file").unlink()
    assert store.gc(grace=0).variants == 1
    assert store.usage().objects == 1


def test_linked_trees_go_with_their_ref(store, source):
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    path = store.linked_tree(digest)
    store.gc(grace=0)
    assert path.exists()
    store.delete_ref("x")
    dry = store.gc(dry_run=True, grace=0)
    assert any(line.startswith("link ") and "not mounted" in line for line in dry.removed)
    store.gc(grace=0)
    assert not path.parent.exists()


@pytest.mark.parametrize("folder", ["cache", "links", "tmp", "variants"])
def test_a_dry_run_needs_no_empty_folders(store, source, folder):
    store.put_directory(source, ref=Ref(name="x", digest=""))
    shutil.rmtree(store.path / folder)
    assert store.gc(dry_run=True, grace=0).removed == ()
    assert not (store.path / folder).exists()


@pytest.mark.parametrize("left_over", [False, True])
def test_a_dry_run_foretells_what_goes_with_a_linked_tree(store, source, left_over):
    (source / "other").write_text("content")
    (source / "other").chmod(0o755)
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    path = store.linked_tree(digest).parent
    store.delete_ref("x")
    if left_over:  # of a gc that was interrupted
        path.rename(store.path / "tmp/doomed")
    time.sleep(0.2)  # nobody can set a ctime
    dry = store.gc(dry_run=True, grace=0.1)
    assert (dry.objects, dry.trees, dry.variants) == (1, 3, 1)
    wet = store.gc(grace=0.1)
    assert (wet.removed, wet.bytes, wet.kept_young) == (dry.removed, dry.bytes, dry.kept_young)
    assert store.usage().objects == store.usage().variants == store.usage().links == 0
    assert not list((store.path / "tmp").iterdir())


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", ["bind", "overlay"])
def test_a_mounted_linked_tree_is_kept_whatever_refs_say(store, source, tmp_path, kind):
    path = store.linked_tree(store.put_directory(source).digest)
    for name in ("mnt", "upper", "work"):
        (tmp_path / name).mkdir()
    options = {
        "bind": ["--bind", str(path)],
        "overlay": [
            "-t",
            "overlay",
            "-o",
            f"lowerdir={path},upperdir={tmp_path}/upper,workdir={tmp_path}/work",
            "none",
        ],
    }
    run.run(["mount", *options[kind], str(tmp_path / "mnt")], timeout=30)
    try:
        store.gc(grace=0)
        assert (tmp_path / "mnt/sub/file").read_text() == "content"
    finally:
        run.run(["umount", str(tmp_path / "mnt")], timeout=30)
    store.gc(grace=0)
    assert not path.exists()


def test_what_was_put_again_is_young_again(store, source):
    store.put_directory(source)
    for path in (store.path / "trees").rglob("*"):
        os.utime(path, (1, 1))
    assert store.gc(dry_run=True, grace=3600).trees == 3
    store.put_directory(source)
    report = store.gc(grace=3600)
    assert (report.trees, report.objects) == (0, 0)
    assert report.kept_young


def test_gc_waits_for_nobody_for_ever(store, source, monkeypatch):
    store.put_directory(source)
    monkeypatch.setattr("volt_cas.layout.GC_PATIENCE", 0.2)
    begun = time.monotonic()
    with store._layout.shared(), pytest.raises(Locked, match="the store"):
        store.gc()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "name", ["", "/x", "x/", "a//b", "../x", "a/../b", ".hidden", "a\nb", "x.json/y", "x" * 300, "é"]
)
def test_refs_that_cannot_be(store, source, name):
    digest = store.put_directory(source).digest
    with pytest.raises(InvalidName):
        store.set_ref(Ref(name=name, digest=digest))
    assert list(store.refs()) == []


def test_refs_beside_and_below_each_other(store, source):
    digest = store.put_directory(source).digest
    names = ["a", "a.json", "a/b", "a/b/c", "images/debian:bookworm"]
    for name in reversed(names):
        store.set_ref(Ref(name=name, digest=digest, meta={"name": name}))
    assert [(ref.name, ref.meta["name"]) for ref in store.refs()] == [(name, name) for name in names]
    assert [ref.name for ref in store.refs("a/")] == ["a/b", "a/b/c"]
    store.delete_ref("a/b")
    with pytest.raises(RefNotFound):
        store.delete_ref("a/b")
    assert store.find_ref("a/b") is None
    assert store.find_ref("a/b/c") is not None


def test_a_log_does_not_grow_for_ever(store, source, monkeypatch):
    monkeypatch.setattr("volt_cas.refs._LOG_LENGTH", 5)
    digest = store.put_directory(source).digest
    for number in range(8):
        store.set_ref(Ref(name="x", digest=digest, meta={"number": str(number)}))
    assert [change.meta["number"] for change in store.ref_log("x")] == ["3", "4", "5", "6", "7"]
    assert all(change.previous == digest for change in store.ref_log("x"))


def test_a_damaged_ref_stops_gc_rather_than_losing_its_tree(store, source):
    store.put_directory(source, ref=Ref(name="x", digest=""))
    (store.path / "refs/x.json").write_text("{")
    with pytest.raises(StateCorrupt, match=r"x\.json"):
        store.gc(grace=0)
    assert len([path for path in (store.path / "objects").rglob("*") if path.is_file()]) == 1


BAD_REFS = [b"", b"{", b'{"schema": 1, "name": "x", "digest": "sha256:short"}']


@pytest.mark.parametrize("damage", BAD_REFS)
def test_a_damaged_ref_stops_nobody_who_asks_for_others(store, source, damage):
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    store.set_ref(Ref(name="y", digest=digest))
    (store.path / "refs/x.json").write_bytes(damage)
    assert [ref.name for ref in store.refs()] == ["y"]
    assert store.usage().refs == 1
    with pytest.raises(StateCorrupt, match=r"x\.json") as caught:
        store.find_ref("x")
    assert "Set or delete the ref" in caught.value.hint
    (line,) = store.verify().damaged
    assert "refs/x.json' is damaged" in line


@pytest.mark.parametrize("name", ["use/x", "x"])
@pytest.mark.parametrize("damage", BAD_REFS)
def test_a_damaged_ref_is_replaced_or_deleted(store, source, name, damage):
    digest = store.put_directory(source, ref=Ref(name=name, digest="")).digest
    path = store.path / f"refs/{name}.json"
    path.write_bytes(damage)
    store.set_ref(Ref(name=name, digest=digest))
    assert store.find_ref(name).digest == digest
    path.write_bytes(damage)
    store.delete_ref(name)
    assert store.find_ref(name) is None
    assert store.verify().damaged == ()
    store.gc()


def test_an_image_whose_ref_is_damaged_hides_no_other_and_can_be_deleted(store, source):
    images = Images(lambda: store, None)
    for name in ("x", "y"):
        images.import_(str(source), name)
    (store.path / "refs/images/x:latest.json").write_text("{")
    assert [image.name for image in images.all()] == ["y:latest"]
    images.delete("x")
    assert store.verify().damaged == ()


def test_a_ref_of_a_newer_volt_is_not_replaced(store, source):
    digest = store.put_directory(source, ref=Ref(name="x", digest="")).digest
    path = store.path / "refs/x.json"
    path.write_text('{"schema": 99}')
    for act in (lambda: store.set_ref(Ref(name="x", digest=digest)), lambda: store.delete_ref("x")):
        with pytest.raises(StateTooNew):
            act()
    assert path.read_text() == '{"schema": 99}'
