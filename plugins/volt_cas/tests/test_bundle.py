"""Bundles of this store: their bytes, what a base saves, what comes back, and what happens at the same time."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import struct
import subprocess
import threading
import zipfile
import zlib
from pathlib import Path

import pytest

from volt_cas.bundle.format import object_name
from volt_cas.bundle.source import BundleSource
from volt_cas.errors import BundleInvalid
from volt_cas.layout import Layout
from volt_cas.record import DirectoryRecord, FileEntry, Metadata
from volt_cas.store import CasStore
from volt_cas.writer import open_writer
from volt_core.contracts import BundleBase, Compression, Ref
from volt_core.errors import ObjectMissing, StoreFull
from volt_core.testing import host
from volt_core.testing.samples import one_way
from volt_core.testing.trees import differences

LARGE = (1 << 20) + 4096


@pytest.fixture
def source(tmp_path):
    """A tree with small and large contents that shrink and such that do not."""
    top = tmp_path / "source"
    (top / "sub/deep").mkdir(parents=True)
    chance = random.Random(5)
    contents = {
        "sub/deep/random": chance.randbytes(50_000),
        "sub/text": b"words and words and more of them\n" * 2000,
        "sub/tiny": b"x",
        "large-text": b"0123456789abcdef" * (LARGE // 8),
        "large-random": chance.randbytes(LARGE),
        "half": b"text at the beginning " * 20_000 + chance.randbytes(LARGE),
        "empty": b"",
    }
    for name, data in contents.items():
        (top / name).write_bytes(data)
    for path in (*top.rglob("*"), top):
        os.utime(path, (1_700_000_000, 1_700_000_000))
        path.chmod(0o755 if path.is_dir() else 0o644)
    (top / "sub/text").chmod(0o4755)
    return top


def bundle_of(store: CasStore, *refs: str, **options) -> bytes:
    stream = io.BytesIO()
    store.write_bundle(stream, refs, **options)
    return stream.getvalue()


def put(store: CasStore, path: Path, ref: str) -> str:
    return store.put_directory(path, ref=Ref(name=ref, digest="")).digest


@pytest.mark.parametrize("compression", Compression)
def test_other_unpackers_read_it(store, source, tmp_path, compression):
    put(store, source, "x")
    data = bundle_of(store, "x", compression=compression)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == "manifest.json"
        for name in names[1:]:
            assert hashlib.sha256(archive.read(name)).hexdigest() == name.partition("/")[2]
        assert len(set(names)) == len(names) == 1 + 4 + 6
    if shutil.which("unzip"):
        (tmp_path / "x.zip").write_bytes(data)
        done = subprocess.run(["unzip", "-tq", tmp_path / "x.zip"], capture_output=True, check=True, text=True)
        assert "No errors" in done.stdout


def test_only_what_shrinks_is_compressed(store, source):
    put(store, source, "x")

    def methods(compression: Compression) -> dict[int, int]:
        with zipfile.ZipFile(io.BytesIO(bundle_of(store, "x", compression=compression))) as archive:
            return {it.file_size: it.compress_type for it in archive.infolist() if it.filename.startswith("objects/")}

    text, random_, large_text, large_random, half = (
        source.joinpath(name).stat().st_size
        for name in ("sub/text", "sub/deep/random", "large-text", "large-random", "half")
    )
    auto = methods(Compression.AUTO)
    assert {size for size, method in auto.items() if method == 8} == {text, large_text, half}
    assert {size for size, method in auto.items() if method == 0} == {1, random_, large_random}
    assert set(methods(Compression.NONE).values()) == {0}
    sizes = [len(bundle_of(store, "x", compression=compression)) for compression in Compression]
    assert sizes[0] > sizes[1] > sizes[2]


def test_the_bytes_are_those_that_the_docs_describe(store):
    """Format 1 is final: this changes with a new format alone."""
    metadata = Metadata(0o644, 0, 0, 1_700_000_000, 5)
    layout = Layout(store.path)
    layout.prepare()
    with open_writer(layout) as writer:
        digest = writer.add(b"hello\n", metadata)
        directory = writer.add_record(DirectoryRecord((FileEntry(b"hello", metadata, 6, digest),)))
        top = writer.add_tree(Metadata(0o755, 0, 0, 1_700_000_000, 0), directory, ())
        writer.publish()
    store.set_ref(Ref(name="greeting", digest="sha256:" + top.hex(), meta={"b": "2", "a": "1"}))
    data = bundle_of(store, "greeting")
    manifest = (
        b'{"format":1,"hash":"sha256","bases":[],"refs":[{"name":"greeting","digest":"sha256:%s",'
        b'"meta":{"a":"1","b":"2"}}],"records":[["sha256:%s",54],["sha256:%s",64]],"objects":[["sha256:%s",6]]}\n'
    ) % tuple(it.hex().encode() for it in (top, top, directory, digest))
    size = len(manifest)
    assert data[:30] == struct.pack(
        "<IHHHHHIIIHH", 0x04034B50, 45, 0, 0, 0, 0x21, zlib.crc32(manifest), 0xFFFFFFFF, 0xFFFFFFFF, 13, 20
    )
    assert data[30 : 63 + size] == b"manifest.json" + struct.pack("<HHQQ", 1, 16, size, size) + manifest
    assert data[63 + size :].startswith(b"PK\3\4")
    assert data[-22:] == b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)
    assert hashlib.sha256(data).hexdigest() == "9a47b882c96586844de7cd6931fd99dbfa0fbdc5639943ce8453912bbfdbf47a"


def test_one_percent_changed_is_about_one_percent_of_the_bytes(store, tmp_path):
    top = tmp_path / "many"
    chance = random.Random(6)
    for number in range(300):
        path = top / f"{number // 30}/{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(20_000))
    first = put(store, top, "first")
    for number in (3, 133, 233):
        (top / f"{number // 30}/{number}").write_bytes(chance.randbytes(20_000))
    put(store, top, "second")
    whole = len(bundle_of(store, "second"))
    delta = bundle_of(store, "second", bases=[BundleBase(first)])
    assert 0.01 < len(delta) / whole < 0.015
    manifest = store.inspect_bundle(io.BytesIO(delta))
    assert (len(manifest.objects), len(manifest.records)) == (3, 5)


def test_bases_may_be_bundles_that_build_on_others(store, source, tmp_path):
    digests = []
    for number in range(3):
        (source / f"new{number}").write_bytes(random.Random(number).randbytes(1000))
        digests.append(put(store, source, f"r{number}"))
    first = bundle_of(store, "r0")
    second = bundle_of(store, "r1", bases=[store.inspect_bundle(io.BytesIO(first))])
    third = bundle_of(store, "r2", bases=[store.inspect_bundle(io.BytesIO(second))])
    assert len(third) < 10_000
    other = CasStore(tmp_path / "other")
    with pytest.raises(ObjectMissing, match=f"'r1', {digests[1]}"):
        other.read_bundle(io.BytesIO(third))
    for data in (first, second, third):
        other.read_bundle(io.BytesIO(data))
    assert other.verify().damaged == ()
    other.checkout(digests[2], tmp_path / "out")
    assert differences(source, tmp_path / "out") == []


def test_a_base_that_has_lost_content_is_told(store, source, tmp_path):
    first = put(store, source, "first")
    other = CasStore(tmp_path / "other")
    other.read_bundle(io.BytesIO(bundle_of(store, "first")))
    (source / "sub/more").write_text("more")
    put(store, source, "second")
    delta = bundle_of(store, "second", bases=[BundleBase(first)])
    tiny = next(iter(store.entries(first, b"sub/tiny"))).digest.removeprefix("sha256:")
    (other.path / "objects" / tiny[:2] / tiny[2:]).unlink()
    with pytest.raises(ObjectMissing, match=f"lacks content .* {'sha256:' + tiny}"):
        other.read_bundle(io.BytesIO(delta))
    assert other.find_ref("second") is None


def test_what_is_imported_is_stored_as_a_put_would_have(store, source, tmp_path, held):
    put(store, source, "x")
    other = CasStore(tmp_path / "other")
    other.read_bundle(one_way(bundle_of(store, "x", compression=Compression.AUTO)))
    assert held(other.path) == held(store.path)
    for folder, _, names in os.walk(store.path / "objects"):
        for name in names:
            one = Path(folder, name)
            two = other.path / one.relative_to(store.path)
            mine, theirs = one.stat(), two.stat()
            assert (mine.st_mode, mine.st_mtime_ns, mine.st_uid) == (theirs.st_mode, theirs.st_mtime_ns, theirs.st_uid)
    # So that a linked checkout needs no inodes of its own.
    other.linked_tree(other.find_ref("x").digest)
    assert other.usage().variants == 0


def test_holes_stay_holes(store, tmp_path):
    (tmp_path / "holes").mkdir()
    with open(tmp_path / "holes/file", "wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"island")
    digest = put(store, tmp_path / "holes", "x")
    other = CasStore(tmp_path / "other")
    other.read_bundle(io.BytesIO(bundle_of(store, "x")))
    other.checkout(digest, tmp_path / "out")
    assert (tmp_path / "out/file").stat().st_blocks * 512 < 64 << 10
    assert differences(tmp_path / "holes", tmp_path / "out") == []


def test_importing_again_adds_nothing(store, source, held):
    put(store, source, "x")
    before = held(store.path)
    done = store.read_bundle(io.BytesIO(bundle_of(store, "x")))
    assert (done.new_objects, done.new_bytes, done.new_records) == (0, 0, 0)
    assert {path for path in held(store.path) if not path.startswith("refs")} == {
        path for path in before if not path.startswith("refs")
    }
    assert len(store.ref_log("x")) == 1


def test_a_damaged_ref_is_replaced(store, source):
    put(store, source, "x")
    data = bundle_of(store, "x")
    (store.path / "refs/x.json").write_text("{")
    assert store.read_bundle(io.BytesIO(data)).moved == ()
    assert store.find_ref("x") is not None


def test_nothing_is_read_behind_the_list_of_contents_to_inspect(store, source):
    put(store, source, "x")
    data = bundle_of(store, "x")
    stream = io.BufferedReader(io.BytesIO(data + bytes(16 << 20)))
    assert store.inspect_bundle(stream).refs[0].name == "x"
    assert stream.tell() <= 1 << 20


def test_single_contents_are_found_in_a_file(store, source, tmp_path):
    digest = put(store, source, "x")
    entries = {entry.path: entry for entry in store.entries(digest)}
    (tmp_path / "x.vbundle").write_bytes(bundle_of(store, "x", compression=Compression.AUTO))
    with BundleSource(tmp_path / "x.vbundle") as found:
        for name in (b"sub/text", b"large-text", b"large-random", b"sub/tiny"):
            entry = entries[name]
            with found.find_object(entry.digest, entry.size) as stream:
                assert stream.read() == (source / os.fsdecode(name)).read_bytes()
            assert found.find_object(entry.digest, entry.size + 1) is None
        assert found.find_object("sha256:" + "0" * 64, 1) is None
        record = entries[b"sub"].digest
        assert "sha256:" + hashlib.sha256(found.find_record(record)).hexdigest() == record
        assert found.find_record("sha256:" + "0" * 64) is None


def test_damage_in_a_file_of_single_contents_is_told(store, source, tmp_path):
    digest = put(store, source, "x")
    data = bundle_of(store, "x")
    path = tmp_path / "x.vbundle"
    for name in (b"sub/tiny", b"large-random"):
        entry = next(iter(store.entries(digest, name)))
        at = data.index(object_name(entry.digest)) + len(object_name(entry.digest)) + 20
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with BundleSource(path) as found, pytest.raises(BundleInvalid, match="do not match"):
            found.find_object(entry.digest, entry.size).read()
    path.write_bytes(data[:6000])
    with pytest.raises(BundleInvalid, match="ends too early"):
        BundleSource(path)


def test_imports_and_gc_at_once_lose_nothing(store, source, tmp_path):
    put(store, source, "x")
    data = bundle_of(store, "x")
    other = CasStore(tmp_path / "other")
    failed = []

    def work(number: int) -> None:
        try:
            for round_ in range(8):
                mine = CasStore(other.path)
                if number == 0:
                    mine.gc(grace=0)
                    continue
                digest = mine.read_bundle(io.BytesIO(data)).manifest.refs[0].digest
                assert mine.read_file(digest, b"sub/tiny") == b"x"
                if number == 1 and round_ % 2:
                    mine.set_ref(Ref(name="y", digest=digest))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert other.verify().damaged == ()
    assert not list((other.path / "tmp").iterdir())


@pytest.mark.needs_loop_mount
def test_a_full_disk_leaves_the_store_as_it_was(tmp_path, held):
    (tmp_path / "big").mkdir()
    for number in range(8):
        (tmp_path / "big" / str(number)).write_bytes(os.urandom(4 << 20))
    outside = CasStore(tmp_path / "cas")
    put(outside, tmp_path / "big", "big")
    data = bundle_of(outside, "big")
    with host.loop_mounted("ext4", 24) as disk:
        store = CasStore(disk / "cas")
        (tmp_path / "small").mkdir()
        (tmp_path / "small/file").write_bytes(os.urandom(1 << 20))
        put(store, tmp_path / "small", "small")
        before = held(store.path)
        with pytest.raises(StoreFull, match="volt cas gc"):
            store.read_bundle(io.BytesIO(data))
        assert held(store.path) == before
        assert [ref.name for ref in store.refs()] == ["small"]
