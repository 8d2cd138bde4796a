"""Bundles that are not what they say: a clear error each, and a store that is byte for byte as it was."""

from __future__ import annotations

import io
import os
import random
import tracemalloc
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from volt_cas import record
from volt_cas.bundle import format as form
from volt_cas.bundle.contents import BundleLayout
from volt_cas.errors import BundleInvalid
from volt_cas.layout import digest_text
from volt_cas.record import DirectoryEntry, DirectoryRecord, FileEntry, LinksRecord, Metadata, TreeRecord
from volt_cas.store import CasStore
from volt_core.contracts import BundleItem, BundleManifest, Ref
from volt_core.errors import ArchiveInvalid, InvalidName, StateTooNew, StoreError
from volt_core.testing.samples import one_way

META = Metadata(0o644, 0, 0, 0, 0)
CONTENT = b"some content, which takes more than a few bytes " * 20
FLIPS = 300


class Member(NamedTuple):
    """One member; whatever is not None is a lie."""

    name: bytes
    data: bytes
    method: int = 0
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    flags: int = 0


class Parts(NamedTuple):
    """A bundle in pieces, for tests to change."""

    manifest: BundleManifest
    records: list[bytes]
    objects: list[bytes]

    def members(self) -> list[Member]:
        names = [form.record_name(digest_of(data)) for data in self.records]
        names += [form.object_name(digest_of(data)) for data in self.objects]
        rest = zip(names, [*self.records, *self.objects], strict=True)
        return [Member(form.MANIFEST, form.encode_manifest(self.manifest)), *(Member(*pair) for pair in rest)]


def digest_of(data: bytes) -> str:
    return digest_text(record.address(data))


def item(data: bytes) -> BundleItem:
    return BundleItem(digest_of(data), len(data))


def parts(records: list[bytes], objects: list[bytes] = (), name: str = "new", **changes) -> Parts:
    """Return a bundle of these records, the first of which is the top."""
    manifest = BundleManifest(
        format=1,
        refs=(Ref(name=name, digest=digest_of(records[0])),),
        records=tuple(map(item, records)),
        objects=tuple(map(item, objects)),
    )
    return Parts(msgspec.structs.replace(manifest, **changes), list(records), list(objects))


def tree_of(directory: bytes, links: bytes | None = None) -> bytes:
    return record.encode(TreeRecord(META, record.address(directory), links and record.address(links)))


def directory_of(*entries) -> bytes:
    return record.encode(DirectoryRecord(tuple(entries)))


def file_entry(name: bytes = b"file", data: bytes = CONTENT, **changes) -> FileEntry:
    return msgspec.structs.replace(FileEntry(name, META, len(data), record.address(data)), **changes)


def sound() -> Parts:
    directory = directory_of(file_entry())
    return parts([tree_of(directory), directory], [CONTENT])


def zip_of(members: list[Member], end: bytes | None = None) -> bytes:
    """Return the file as the format has it, but for the lies."""
    out = bytearray()
    central = bytearray()
    for it in members:
        packed = it.data if it.packed is None else it.packed
        crc = zlib.crc32(it.data) if it.crc is None else it.crc
        size = len(it.data) if it.size is None else it.size
        stored = form.Stored(it.method, crc, len(packed) if it.packed_size is None else it.packed_size)
        entry = bytearray(form._central_entry(it.name, stored, size, len(out)))
        header = bytearray(form.local_header(it.name, stored, size))
        header[6] |= it.flags
        entry[8] |= it.flags
        central += entry
        out += header + packed
    return bytes(out + central + form._end(len(members), len(central), len(out)))


def changed(position: int, **lies) -> bytes:
    members = sound().members()
    members[position] = members[position]._replace(**lies)
    return zip_of(members)


def deflated(data: bytes) -> bytes:
    return zlib.compress(data, 9, -15)


def deep(levels: int) -> Parts:
    records = [directory_of(file_entry())]
    for _ in range(levels):
        records.insert(0, directory_of(DirectoryEntry(b"d", META, record.address(records[0]))))
    return parts([tree_of(records[0]), *records], [CONTENT])


def linked(*groups: tuple[bytes, ...]) -> Parts:
    links = record.encode(LinksRecord(groups))
    directory = directory_of(file_entry(b"a"), file_entry(b"b"), file_entry(b"c", b"x"))
    return parts([tree_of(directory, links), links, directory], [CONTENT, b"x"])


def with_record(data: bytes) -> Parts:
    """A tree whose directory record is `data`."""
    return parts([tree_of(data), data], [CONTENT])


def manifest_bytes(change) -> bytes:
    members = sound().members()
    data = change(members[0].data)
    return zip_of([members[0]._replace(data=data), *members[1:]])


def many_refs(count: int) -> bytes:
    whole = sound()
    refs = tuple(Ref(name=f"r{number:05}", digest=whole.manifest.refs[0].digest) for number in range(count))
    return zip_of(whole._replace(manifest=msgspec.structs.replace(whole.manifest, refs=refs)).members())


def patched_end(offset: int, data: bytes) -> bytes:
    """Change bytes at an offset from the end of a sound file."""
    whole = bytearray(zip_of(sound().members()))
    whole[len(whole) + offset : len(whole) + offset + len(data)] = data
    return bytes(whole)


def overlapping() -> bytes:
    """A central directory that has two names for the bytes of one member."""
    members = sound().members()
    whole = zip_of(members)
    at = whole.rindex(members[2].name) + len(members[2].name) + 20
    second = whole.rindex(members[3].name) + len(members[3].name) + 20
    return whole[:second] + whole[at : at + 8] + whole[second + 8 :]


MEMBERS = sound().members()
EXTRA = Member(form.object_name(digest_of(b"extra")), b"extra")
HUGE = bytes(64 << 20)

HOSTILE = {
    # names
    "up": (changed(3, name=b"../../../../../../../tmp/x"), "'../../../../../../../tmp/x' stands where 'objects/"),
    "absolute": (changed(3, name=b"/etc/passwd"), "'/etc/passwd' stands where"),
    "inside-up": (changed(3, name=b"objects/../../" + b"a" * 58), "stands where"),
    "backslash": (changed(3, name=MEMBERS[3].name.replace(b"/", b"\\")), "stands where"),
    "nul": (changed(3, name=b"objects/" + b"a" * 32 + b"\0" + b"a" * 31), r"\\x00"),
    "other-folder": (changed(3, name=MEMBERS[3].name.replace(b"objects", b"trees")), "stands where"),
    "upper-case": (changed(3, name=MEMBERS[3].name.upper()), "stands where"),
    # members
    "duplicate": (zip_of([*MEMBERS, MEMBERS[3]]), "central directory"),
    "duplicate-before": (zip_of([*MEMBERS[:3], MEMBERS[2], MEMBERS[3]]), "stands where"),
    "duplicate-manifest": (zip_of([MEMBERS[0], *MEMBERS]), "'manifest.json' stands where"),
    "extra": (zip_of([*MEMBERS, EXTRA]), "central directory"),
    "extra-before": (zip_of([*MEMBERS[:3], EXTRA, MEMBERS[3]]), "stands where"),
    "missing": (zip_of(MEMBERS[:3]), "its members end before 'objects/"),
    "other-order": (zip_of([MEMBERS[0], MEMBERS[2], MEMBERS[1], MEMBERS[3]]), "stands where"),
    "manifest-last": (zip_of([*MEMBERS[1:], MEMBERS[0]]), "stands where 'manifest.json' must be"),
    "no-manifest": (zip_of(MEMBERS[1:]), "stands where 'manifest.json' must be"),
    "empty-zip": (form._end(0, 0, 0), "does not begin as a bundle"),
    # sizes
    "too-long": (changed(3, data=CONTENT + b"x"), "has 961 bytes by its header, 960 by the list"),
    "too-short": (changed(3, data=CONTENT[:-1]), "has 959 bytes by its header"),
    "lying-size": (changed(3, size=2**63), "9223372036854775808 bytes by its header"),
    "lying-packed-size": (changed(3, packed_size=2**62), "is stored, but 4611686018427387904 bytes"),
    "short-packed-size": (changed(3, packed_size=10), "is stored, but 10 bytes are said to be 960"),
    "manifest-size": (changed(0, size=2**40, packed_size=2**40), "list of contents has 1099511627776 bytes"),
    "manifest-too-short": (changed(0, size=10, packed_size=10), "does not match its CRC"),
    # content
    "crc": (changed(3, crc=1), "does not match its CRC"),
    "crc-of-record": (changed(2, crc=1), "does not match its CRC"),
    "crc-of-manifest": (changed(0, crc=1), "does not match its CRC"),
    "hash": (changed(3, data=b"x" * len(CONTENT)), "do not match the digest"),
    "hash-of-record": (changed(2, data=b"x" * len(MEMBERS[2].data)), "do not match the digest"),
    # compression
    "bomb": (changed(3, method=8, packed=deflated(HUGE)[:900], size=960), "more than 960 bytes"),
    "shrunk": (changed(3, method=8, packed=deflated(CONTENT[:50])), "has only 50 bytes"),
    "deflate-garbage": (changed(3, method=8, packed=b"\xff" * 100), "cannot be decompressed"),
    "deflate-cut": (changed(3, method=8, packed=deflated(CONTENT)[:-3]), "bytes|end"),
    "deflate-behind": (changed(3, method=8, packed=deflated(CONTENT) + b"hidden"), "does not end where"),
    "deflate-grown": (changed(3, method=8, packed=deflated(CONTENT) + bytes(2000)), "which no writer does"),
    "deflated-manifest": (changed(0, method=8, packed=deflated(MEMBERS[0].data)), "which no writer does"),
    "bzip2": (changed(3, method=12), "method 12"),
    "zstd": (changed(3, method=93), "method 93"),
    # flags
    "encrypted": (changed(3, flags=1), "is encrypted"),
    "descriptor": (changed(3, flags=8), "does not stand before it"),
    "other-flag": (changed(3, flags=2), "flags, times, versions"),
    # the end
    "overlapping": (overlapping(), "central directory"),
    "comment": (patched_end(-2, b"\5\0") + b"hello", "central directory"),
    "comment-unsaid": (zip_of(MEMBERS) + b"hello", "something stands behind its end"),
    "before": (b"#!/bin/sh\nexit\n" + zip_of(MEMBERS), "does not begin as a bundle"),
    "end-count": (patched_end(-66, b"\5"), "central directory"),
    "end-offset": (patched_end(-50, b"\0"), "central directory"),
    "twice": (2 * zip_of(MEMBERS), "something stands behind its end"),
    # the list of contents
    "spaces": (manifest_bytes(lambda data: data.replace(b":", b": ")), "canonical"),
    "no-newline": (manifest_bytes(lambda data: data[:-1]), "canonical"),
    "repeated-key": (manifest_bytes(lambda data: b'{"format":1,' + data[1:]), "canonical"),
    "unknown-key": (manifest_bytes(lambda data: data[:-2] + b',"x":1}\n'), "canonical"),
    "no-json": (manifest_bytes(lambda _: b"\xff\xfe"), "list of contents"),
    "nested": (manifest_bytes(lambda _: b"[" * 100_000), "list of contents"),
    "old-format": (manifest_bytes(lambda data: data.replace(b'"format":1', b'"format":0')), "never was a format 0"),
    "other-hash": (manifest_bytes(lambda data: data.replace(b'sha256",', b'md5",', 1)), "never was"),
    "no-ref": (zip_of(sound()._replace(manifest=msgspec.structs.replace(sound().manifest, refs=())).members()), "ref"),
    "many-refs": (many_refs(10_001), "more than 10000 refs"),
    "negative-size": (manifest_bytes(lambda data: data.replace(b",960]", b",-960]")), "-960 bytes"),
    "sizes-overflow": (manifest_bytes(lambda data: data.replace(b",960]", b",9223372036854775808]")), "9223372036854"),
    "records-too-large": (manifest_bytes(lambda data: data.replace(b"]]", b",2000000000]]", 1)), "list of contents"),
    # refs
    **{
        f"ref-{name!r}": (zip_of(parts(*sound()[1:], name=name).members()), why)
        for name, why in {
            "../x": "Invalid ref",
            "/x": "Invalid ref",
            "a//b": "Invalid ref",
            "a\nb": "Invalid ref",
            "": "Invalid ref",
            "x" * 300: "Invalid ref",
            "x.lock": "Invalid ref",
            "use/container/web": "what workloads use",
        }.items()
    },
    # records
    "not-canonical": (zip_of(with_record(b"\x92\xd9\x03dir\x90").members()), "canonical"),
    "no-record": (zip_of(with_record(b"not a record").members()), "damaged"),
    "behind-record": (zip_of(with_record(directory_of(file_entry()) + b"\0").members()), "damaged"),
    "name-up": (zip_of(with_record(directory_of(file_entry(b".."))).members()), "impossible name"),
    "name-slash": (zip_of(with_record(directory_of(file_entry(b"a/b"))).members()), "impossible name"),
    "unsorted": (zip_of(with_record(directory_of(file_entry(b"b"), file_entry(b"a"))).members()), "not sorted"),
    "overlay": (
        zip_of(
            with_record(
                directory_of(file_entry(metadata=Metadata(0o644, 0, 0, 0, 0, ((b"trusted.overlay.opaque", b"y"),))))
            ).members()
        ),
        "never kept",
    ),
    "size-in-record": (zip_of(with_record(directory_of(file_entry(size=7))).members()), "contents are not those"),
    "two-sizes": (
        zip_of(with_record(directory_of(file_entry(b"a"), file_entry(b"b", size=7))).members()),
        "960 and 7 bytes",
    ),
    "too-deep": (zip_of(deep(4097).members()), "levels"),
    "group-of-unequal": (zip_of(linked((b"a", b"c")).members()), "unequal"),
    "group-of-nothing": (zip_of(linked((b"a", b"nothing")).members()), "lacks"),
    "top-is-directory": (zip_of(parts([directory_of(file_entry())], [CONTENT]).members()), "not that of the top"),
    "directory-is-top": (zip_of(with_record(tree_of(directory_of())).members()), "not that of a directory"),
    # trees
    "record-missing": (zip_of(parts([tree_of(directory_of(file_entry()))]).members()), "need the record"),
    "content-missing": (
        zip_of(parts([tree_of(directory_of(file_entry())), directory_of(file_entry())]).members()),
        "need the content",
    ),
    "record-unneeded": (zip_of(parts([*sound().records, directory_of()], [CONTENT]).members()), "records are not"),
    "content-unneeded": (zip_of(parts(sound().records, [CONTENT, b"extra"]).members()), "contents are not those"),
}  # fmt: skip


@pytest.fixture
def target(tmp_path):
    """A store that holds something."""
    store = CasStore(tmp_path / "cas")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("kept")
    store.put_directory(tmp_path / "kept", ref=Ref(name="kept", digest=""))
    return store


def everything(store: CasStore) -> dict[str, tuple[int, int, bytes]]:
    """Return all that lies in the store, byte for byte."""
    found = {}
    for top, folders, files in os.walk(store.path):
        for name in (*folders, *files):
            path = Path(top, name)
            info = path.lstat()
            data = b"" if path.is_dir() else path.read_bytes()
            found[str(path.relative_to(store.path))] = info.st_mode, info.st_ino, data
    return found


def test_the_parts_that_are_changed_are_sound(target):
    data = zip_of(sound().members())
    assert target.verify_bundle(io.BytesIO(data)).bytes == len(data)
    target.read_bundle(io.BytesIO(data))
    out = io.BytesIO()
    target.write_bundle(out, ["new"])
    assert out.getvalue() == data
    for also in (deep(4095), linked((b"a", b"b"))):
        target.verify_bundle(io.BytesIO(zip_of(also.members())))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bundles_are_refused_by_what_is_wrong(target, name):
    data, why = HOSTILE[name]
    before = everything(target)
    for act in (target.read_bundle, target.verify_bundle):
        with pytest.raises(BundleInvalid, match=why):
            act(one_way(data))
    assert everything(target) == before


def test_a_hostile_base_gives_nothing(target):
    """What a bundle needs beside it must be in a base; that the store has it by chance does not count."""
    target.put_directory(target.path.parent / "kept", ref=Ref(name="base", digest=""))
    target.read_bundle(io.BytesIO(zip_of(sound().members())))
    base = target.find_ref("base").digest
    directory = directory_of(file_entry())
    before = everything(target)
    for records in ([tree_of(directory)], [tree_of(directory), directory]):
        with pytest.raises(BundleInvalid, match="neither it nor its bases have"):
            target.read_bundle(one_way(zip_of(parts(records, [], bases=((base, "base"),)).members())))
    assert everything(target) == before


def test_a_ref_that_has_no_place_is_refused_before_anything_is_read(target):
    before = everything(target)
    with pytest.raises(InvalidName):
        target.read_bundle(one_way(zip_of(parts(*sound()[1:], name="a.json/b").members())))
    assert everything(target) == before


def test_a_later_format_is_refused_as_such(target):
    data = manifest_bytes(lambda data: data.replace(b'"format":1', b'"format":2,"more":[]'))
    with pytest.raises(StateTooNew, match="format 2"):
        target.verify_bundle(one_way(data))


def test_many_hard_links_do_not_cost_a_reading_each(target, monkeypatch):
    names = [b"%05d" % number for number in range(4000)]
    inner = directory_of(*(file_entry(name) for name in names))
    outer = directory_of(*(DirectoryEntry(name, META, record.address(inner)) for name in (b"a", b"b", b"c")))
    groups = tuple((b"a/" + name, b"c/" + name) for name in names)
    links = record.encode(LinksRecord(groups))
    data = zip_of(parts([tree_of(outer, links), links, outer, inner], [CONTENT]).members())
    reads = []
    read = BundleLayout.read_tree_file
    monkeypatch.setattr(BundleLayout, "read_tree_file", lambda self, digest: reads.append(digest) or read(self, digest))
    target.verify_bundle(io.BytesIO(data))
    assert len(reads) < 10


def test_memory_is_bounded_whatever_is_claimed(target):
    large = bytes(8 << 20)
    bombs = [
        changed(0, size=form.MAX_MANIFEST, packed_size=form.MAX_MANIFEST),
        changed(3, method=8, packed=deflated(HUGE)[:900], size=960),
        zip_of([
            *parts([tree_of(directory_of(file_entry(data=large))), directory_of(file_entry(data=large))], [large])
            .members()[:3],
            Member(form.object_name(digest_of(large)), large, method=8, packed=deflated(HUGE), size=len(large)),
        ]),
    ]  # fmt: skip
    for data in bombs:
        tracemalloc.start()
        with pytest.raises(BundleInvalid):
            target.verify_bundle(one_way(data))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 << 20


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> bytes:
    """A bundle of a tree with small and large contents, some of them compressed."""
    top = tmp_path_factory.mktemp("real")
    source = top / "source"
    (source / "sub").mkdir(parents=True)
    chance = random.Random(7)
    for number in range(40):
        (source / f"sub/{number}").write_bytes(chance.randbytes(number * 100))
    (source / "text").write_text("text " * 3000)
    (source / "large").write_bytes(chance.randbytes((1 << 20) + 5))
    store = CasStore(top / "cas")
    store.put_directory(source, ref=Ref(name="real", digest=""))
    stream = io.BytesIO()
    store.write_bundle(stream, ["real"], compression="auto")
    return stream.getvalue()


def test_a_bundle_cut_off_at_every_4_kib_is_refused(target, real):
    before = everything(target)
    places = [*range(0, len(real), 4096), *range(len(real) - 100, len(real), 9)]
    for at in places:
        with pytest.raises(ArchiveInvalid, match="ends too early"):
            target.read_bundle(io.BytesIO(real[:at]))
    assert len(places) > 200
    assert everything(target) == before


def test_flipped_bits_are_found(target, real):
    before = everything(target)
    chance = random.Random(11)
    headers = [at for at in range(len(real) - 8000, len(real))] + list(range(6000))
    for number in range(FLIPS):
        at = chance.choice(headers) if number % 2 else chance.randrange(len(real))
        data = bytearray(real)
        data[at] ^= 1 << chance.randrange(8)
        with pytest.raises((StoreError, StateTooNew)):
            target.verify_bundle(io.BytesIO(bytes(data)))
        if number % 10 == 0:
            with pytest.raises((StoreError, StateTooNew)):
                target.read_bundle(io.BytesIO(bytes(data)))
    assert everything(target) == before


def test_swapped_and_repeated_blocks_are_found(target, real):
    before = everything(target)
    chance = random.Random(13)
    for _ in range(60):
        one, other = (chance.randrange(0, len(real) - 512) for _ in range(2))
        length = chance.choice((1, 16, 512))
        swapped = bytearray(real)
        swapped[one : one + length], swapped[other : other + length] = (
            real[other : other + length],
            real[one : one + length],
        )
        for data in (bytes(swapped), real[:one] + real[other : other + length] + real[one:]):
            if data != real:
                with pytest.raises((StoreError, StateTooNew)):
                    target.verify_bundle(io.BytesIO(data))
    assert everything(target) == before
