"""Tree records in C and in Python: what one takes for a record the other does, and both write the same bytes."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from volt_cas import record
from volt_cas.record import (
    BlockEntry,
    CharacterEntry,
    DirectoryEntry,
    DirectoryRecord,
    FifoEntry,
    FileEntry,
    LinksRecord,
    Metadata,
    Record,
    SymlinkEntry,
    TreeRecord,
)
from volt_core.errors import ObjectCorrupt

pytestmark = pytest.mark.needs_c_compiler

CSRC = Path(__file__).parents[3] / "csrc"
KINDS = (DirectoryRecord, TreeRecord, LinksRecord)
"""By their numbers in enum record_kind."""
NOTHING = hashlib.sha256().digest()
REFUSED = object()

Recode = Callable[[bytes], object]


@pytest.fixture(scope="module")
def recode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recode]:
    """What csrc/tests/recode.c makes of the bytes: the kind and what it wrote, or REFUSED."""
    build = tmp_path_factory.mktemp("csrc")
    make = ["make", "-C", CSRC, f"BUILD={build}", "SANITIZE=address,undefined", f"{build}/recode"]
    made = subprocess.run(make, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    with subprocess.Popen([build / "recode"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        to, out = process.stdin, process.stdout
        assert to is not None
        assert out is not None

        def ask(data: bytes) -> object:
            to.write(struct.pack("=I", len(data)) + data)
            to.flush()
            kind, size = struct.unpack("=iI", out.read(8))
            written = out.read(size)
            return (KINDS[kind], written) if kind >= 0 else REFUSED

        yield ask
        to.close()
        assert process.wait(timeout=60) == 0


def python_recode(data: bytes) -> object:
    """The same answer by the Python code."""
    try:
        found: Record = record.decode(data, bytes(32))
    except ObjectCorrupt:
        return REFUSED
    match found:
        case DirectoryRecord():
            return DirectoryRecord, record.encode(found)
        case TreeRecord():
            return TreeRecord, msgspec.msgpack.encode(found.metadata) + found.digest + (found.links or b"")
        case _:
            return LinksRecord, b""


def is_links(data: bytes) -> bool:
    """Whether the bytes begin as a links record does; C reads no further."""
    return data.startswith(b"\x92\xa5links")


# Where encodings change their size, and where the limits are.
_EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**63 - 1]
_SIGNED = [n for edge in (*_EDGES[:-4], 2**31, 2**63 - 1) for n in (edge, -edge, -edge - 1)] + [-32, -33]
names = st.binary(min_size=1, max_size=255).filter(record.is_valid_name)
digests = st.binary(min_size=32, max_size=32)
xattr_names = st.one_of(
    st.sampled_from([b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default", b"user."]),
    st.binary(max_size=250).map(lambda rest: b"user." + rest.replace(b"\0", b"")),
).filter(record.is_kept_xattr)
xattrs = st.dictionaries(xattr_names, st.binary(max_size=300), max_size=4).map(
    lambda found: tuple(sorted(found.items()))
)


def numbers(most: int) -> st.SearchStrategy[int]:
    return st.sampled_from([edge for edge in _EDGES if edge <= most]) | st.integers(0, most)


seconds = st.sampled_from(_SIGNED) | st.integers(-(2**63), 2**63 - 1)
identities = numbers(2**32 - 2)
metadata = st.builds(
    Metadata, numbers(0o7777), identities, identities, seconds, numbers(10**9 - 1), st.just(()) | xattrs
)
link_metadata = st.builds(Metadata, st.just(0o777), identities, identities, seconds, numbers(10**9 - 1))


def file_entry(name: bytes, metadata: Metadata, size: int, digest: bytes) -> FileEntry:
    return FileEntry(name, metadata, size, NOTHING if size == 0 else digest)


def device_of(make: Callable[..., object], least: int) -> st.SearchStrategy[object]:
    major = numbers(2**32 - 1).map(lambda n: max(n, least))
    return st.builds(make, names, metadata, major, numbers(2**32 - 1))


entries = st.one_of(
    st.builds(file_entry, names, metadata, numbers(2**63 - 1), digests),
    st.builds(DirectoryEntry, names, metadata, digests),
    st.builds(
        SymlinkEntry,
        names,
        link_metadata,
        st.binary(min_size=1, max_size=600).map(lambda target: target.replace(b"\0", b".")),
    ),
    device_of(CharacterEntry, 1),
    device_of(BlockEntry, 0),
    st.builds(FifoEntry, names, metadata),
)
directories = st.lists(entries, max_size=20, unique_by=lambda entry: entry.name).map(
    lambda found: DirectoryRecord(tuple(sorted(found, key=lambda entry: entry.name)))
)
trees = st.builds(TreeRecord, metadata, digests, st.none() | digests)
valid = (directories | trees).map(record.encode)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A record after a few accidents, mostly such as leave it a MessagePack."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["set", "set", "cut", "insert", "remove", "longer", "move"])):
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "remove":
                del data[at : at + draw(st.integers(1, 4))]
            case "longer":
                # A number, size or array header one size up: the same value, not its shortest encoding.
                first, rest = data[at : at + 1], data[at + 1 :]
                if first and first[0] < 0x80:
                    data[at:] = b"\xcc" + first + rest
                elif first and first[0] in b"\xc4\xc5\xcc\xcd\xce":
                    width = {0xC4: 1, 0xC5: 2, 0xCC: 1, 0xCD: 2, 0xCE: 4}[first[0]]
                    data[at:] = bytes([first[0] + 1]) + bytes(width) + rest
                elif first and 0x90 <= first[0] <= 0x9F:
                    data[at:] = bytes([0xDC, 0, first[0] & 0x0F]) + rest
            case "move":
                end = min(len(data), at + draw(st.integers(1, 64)))
                part = data[at:end]
                del data[at:end]
                to = draw(st.integers(0, len(data)))
                data[to:to] = part
    return bytes(data)


# Each of the rules broken alone; the encoder checks none of them.
METADATA = Metadata(0o644, 1, 2, 3, 4)
WRONG_METADATA = {
    "mode": Metadata(0o10000, 0, 0, 0, 0),
    "uid": Metadata(0, 2**32 - 1, 0, 0, 0),
    "gid": Metadata(0, 0, 2**32, 0, 0),
    "nanoseconds": Metadata(0, 0, 0, 0, 10**9),
    "negative mode": Metadata(-1, 0, 0, 0, 0),
    "seconds beyond 64 bits": Metadata(0, 0, 0, 2**63, 0),
    "xattrs unsorted": Metadata(0, 0, 0, 0, 0, ((b"user.b", b""), (b"user.a", b""))),
    "xattr twice": Metadata(0, 0, 0, 0, 0, ((b"user.a", b""), (b"user.a", b""))),
    "xattr never kept": Metadata(0, 0, 0, 0, 0, ((b"trusted.a", b""),)),
    "xattr of overlayfs": Metadata(0, 0, 0, 0, 0, ((b"user.overlay.opaque", b"y"),)),
    "xattr that only begins as a kept one": Metadata(0, 0, 0, 0, 0, ((b"security.capability2", b""),)),
    "xattr with a NUL behind a kept one": Metadata(0, 0, 0, 0, 0, ((b"security.capability\0", b""),)),
    "xattr without a name": Metadata(0, 0, 0, 0, 0, ((b"", b""),)),
    "xattr with a long name": Metadata(0, 0, 0, 0, 0, ((b"user." + b"n" * 251, b""),)),
    "xattr with a long value": Metadata(0, 0, 0, 0, 0, ((b"user.a", bytes(65537)),)),
}
WRONG_ENTRIES = {
    **{f"name {name!r}": (FifoEntry(name, METADATA),) for name in (b"", b".", b"..", b"a/b", b"/", b"a\0", b"n" * 256)},
    "unsorted": (FifoEntry(b"b", METADATA), FifoEntry(b"a", METADATA)),
    "shorter behind longer": (FifoEntry(b"aa", METADATA), FifoEntry(b"a", METADATA)),
    "twice": (FifoEntry(b"a", METADATA), FifoEntry(b"a", METADATA)),
    "empty with a digest": (FileEntry(b"a", METADATA, 0, bytes(32)),),
    "digest of nothing with a size": (FileEntry(b"a", METADATA, 1, NOTHING),),
    "size beyond 63 bits": (FileEntry(b"a", METADATA, 2**63, bytes(32)),),
    "digest too short": (FileEntry(b"a", METADATA, 1, bytes(31)),),
    "digest too long": (DirectoryEntry(b"a", METADATA, bytes(33)),),
    "whiteout": (CharacterEntry(b"a", METADATA, 0, 0),),
    "device number": (BlockEntry(b"a", METADATA, 2**32, 0),),
    "symlink with a mode": (SymlinkEntry(b"a", Metadata(0o755, 0, 0, 0, 0), b"t"),),
    "symlink with an xattr": (SymlinkEntry(b"a", Metadata(0o777, 0, 0, 0, 0, ((b"user.a", b""),)), b"t"),),
    "symlink to nothing": (SymlinkEntry(b"a", Metadata(0o777, 0, 0, 0, 0), b""),),
    "symlink with a NUL": (SymlinkEntry(b"a", Metadata(0o777, 0, 0, 0, 0), b"a\0"),),
    "symlink of 4096": (SymlinkEntry(b"a", Metadata(0o777, 0, 0, 0, 0), b"t" * 4096),),
    **{f"metadata: {why}": (FifoEntry(b"a", metadata),) for why, metadata in WRONG_METADATA.items()},
}
WRONG = {
    **{why: record.encode(DirectoryRecord(found)) for why, found in WRONG_ENTRIES.items()},
    **{f"tree, {why}": record.encode(TreeRecord(found, bytes(32))) for why, found in WRONG_METADATA.items()},
    "tree, digest": record.encode(TreeRecord(METADATA, bytes(31))),
    "tree, links": record.encode(TreeRecord(METADATA, bytes(32), b"")),
    "tree without links": msgspec.msgpack.encode(["tree", METADATA, bytes(32)]),
    "unknown kind": msgspec.msgpack.encode(["dirs", []]),
    "unknown entry": msgspec.msgpack.encode(["dir", [["s", b"a", METADATA]]]),
    "entry with too much": msgspec.msgpack.encode(["dir", [["p", b"a", METADATA, 0]]]),
    "entry with too little": msgspec.msgpack.encode(["dir", [["p", b"a"]]]),
    "metadata without xattrs": msgspec.msgpack.encode(["dir", [["p", b"a", [0, 0, 0, 0, 0]]]]),
    "name that is text": msgspec.msgpack.encode(["dir", [["p", "a", METADATA]]]),
    "number that is a float": msgspec.msgpack.encode(["dir", [["p", b"a", [0.0, 0, 0, 0, 0, []]]]]),
    "number that is a boolean": msgspec.msgpack.encode(["dir", [["p", b"a", [0, 0, 0, False, 0, []]]]]),
    "tag that is no text": b"\x92\xa3\xffir\x90",
    "more items, nested deeply": b"\x93\xa3dir\x90" + b"\x91" * 100_000 + b"\x90",
    "map": msgspec.msgpack.encode({"dir": []}),
    "nothing": b"",
    "something behind it": record.encode(DirectoryRecord(())) + b"\xc0",
}


@pytest.mark.parametrize("why", WRONG)
def test_both_refuse(recode, why):
    assert python_recode(WRONG[why]) is REFUSED
    assert recode(WRONG[why]) is REFUSED


@pytest.mark.parametrize("count", [0, 15, 16, 65535, 65536])
def test_both_count_the_same(recode, count):
    """The size of an array's header depends on how many entries there are."""
    found = DirectoryRecord(tuple(FifoEntry(b"%05d" % number, METADATA) for number in range(count)))
    assert recode(record.encode(found)) == (DirectoryRecord, record.encode(found))


@pytest.mark.parametrize("size", [0, 255, 256, 65535, 65536])
def test_both_take_long_values(recode, size):
    metadata = Metadata(0, 0, 0, -(2**63), 0, ((b"user." + b"n" * 250, bytes(size)),))
    data = record.encode(DirectoryRecord((FifoEntry(b"n" * 255, metadata),)))
    assert python_recode(data) == recode(data) == (DirectoryRecord, data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=valid)
def test_both_write_what_they_read(recode, data):
    found = recode(data)
    assert found == python_recode(data)
    assert found is not REFUSED


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damaged())
def test_both_judge_damage_alike(recode, data):
    if not is_links(data):
        assert recode(data) == python_recode(data)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=valid, seed=st.integers(0, 2**32))
def test_bits_that_flip_are_judged_alike(recode, data, seed):
    """Mostly a record still, with another content."""
    places = random.Random(seed)
    for _ in range(100):
        flipped = bytearray(data)
        flipped[places.randrange(len(data))] ^= 1 << places.randrange(8)
        if not is_links(flipped):
            assert recode(bytes(flipped)) == python_recode(bytes(flipped))


def test_kind_of_a_links_record(recode):
    data = record.encode(LinksRecord(((b"a", b"b"),)))
    assert recode(data) == python_recode(data) == (LinksRecord, b"")
