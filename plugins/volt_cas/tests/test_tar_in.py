"""Archives from strangers: refused as a whole, with the member's name, and nothing of them is kept."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile

import pytest

from volt_cas import acl
from volt_cas.record import DirectoryRecord, FifoEntry, Metadata
from volt_cas.tar_format import Limits, _sum_of
from volt_cas.tar_in import TarImport
from volt_cas.writer import open_writer
from volt_core.contracts import SILENT, EntryType, MtimePolicy, Ref
from volt_core.errors import ArchiveInvalid, ObjectCorrupt

REG, DIR, LNK, SYM, CHR, FIFO = b"0", b"5", b"1", b"2", b"3", b"6"


def header(name, kind=REG, data=b"", target=b"", **fields):
    """One ustar header with its data; `fields` are raw bytes at named places."""
    places = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12),
              "magic": (257, 8), "major": (329, 8), "minor": (337, 8), "prefix": (345, 155),
              "sparse": (386, 109)}  # fmt: skip
    block = bytearray(512)
    block[: len(name)] = name
    block[156:157] = kind
    block[157 : 157 + len(target)] = target
    values = {"mode": b"0000644", "uid": b"0000000", "gid": b"0000000", "size": b"%011o" % len(data),
              "mtime": b"%011o" % 1_700_000_000, "magic": b"ustar\x0000", **fields}  # fmt: skip
    for key, value in values.items():
        start, width = places[key]
        block[start : start + width] = value.ljust(width, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % 512)


def pax(records, kind=b"x"):
    data = b""
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = next(n for n in range(rest, rest + 9) if n == rest + len(str(n)))
        data += b"%d %s=%s\n" % (length, key, value)
    return header(b"pax", kind, data)


END = bytes(1024)
PLAIN = header(b"good", data=b"content of the good file")
SPARSE_1_0 = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"bomb")]

LONG_ACL = b"u::rwx,g::r-x,m::rwx,o::---," + b",".join(b"u:%d:rwx" % user for user in range(9000))

HOSTILE = {
    "dot dot": header(b"a/../../b"),
    "dot dot in the middle": header(b"a/../b"),
    "absolute": header(b"/etc/passwd"),
    "absolute by prefix": header(b"passwd", prefix=b"/etc"),
    "absolute by pax": pax([(b"path", b"/etc/passwd")]) + header(b"x"),
    "dot dot by a long name": header(b"l", b"L", b"../x\0") + header(b"x"),
    "through a symlink": header(b"link", SYM, target=b"/etc") + header(b"link/passwd"),
    "through a symlink made by another name": header(b"./link/", SYM, target=b"..") + header(b"link//x"),
    "through a file": header(b"file") + header(b"file/x"),
    "through a device": header(b"null", CHR, major=b"1", minor=b"3") + header(b"null/x"),
    "hard link outside": header(b"link", LNK, target=b"../../etc/passwd"),
    "hard link to an absolute name": header(b"link", LNK, target=b"/etc/passwd"),
    "hard link to nothing": header(b"link", LNK, target=b"later") + header(b"later"),
    "hard link to a directory": header(b"d", DIR) + header(b"link", LNK, target=b"d"),
    "hard link through a symlink": header(b"s", SYM, target=b".") + PLAIN + header(b"link", LNK, target=b"s/good"),
    "no name": header(b""),
    "a NUL in a name": pax([(b"path", b"a\0b")]) + header(b"x"),
    "a NUL in a target": pax([(b"linkpath", b"a\0b")]) + header(b"x", SYM),
    "a target of 5000 bytes": pax([(b"linkpath", b"t" * 5000)]) + header(b"x", SYM),
    "an attribute of 70000 bytes": pax([(b"SCHILY.xattr.user.x", b"v" * 70000)]) + header(b"x"),
    "an ACL of 80000 bytes": pax([(b"SCHILY.acl.access", LONG_ACL)]) + header(b"x"),
    "an attribute with a long name": pax([(b"SCHILY.xattr.user." + b"n" * 300, b"")]) + header(b"x"),
    "a symlink to nothing": header(b"x", SYM),
    "a name of 300 bytes": pax([(b"path", b"n" * 300)]) + header(b"x"),
    "a path of 5000 bytes": pax([(b"path", b"dir/" * 1250 + b"x")]) + header(b"x"),
    "the root as a file": header(b"./"),
    "the root as a symlink": header(b".", SYM, target=b"/"),
    "a file over a full directory": header(b"d/x") + header(b"d"),
    "a whiteout": header(b"gone", CHR, major=b"0", minor=b"0"),
    "an overlay attribute": pax([(b"SCHILY.xattr.trusted.overlay.opaque", b"y")]) + header(b"d", DIR),
    "a user overlay attribute": pax([(b"SCHILY.xattr.user.overlay.redirect", b"/etc")]) + header(b"d", DIR),
    "an overlay attribute of libarchive": pax([(b"LIBARCHIVE.xattr.trusted%2Eoverlay%2Eopaque", b"eQ")])
    + header(b"d", DIR),
    "an attribute that is no base64": pax([(b"LIBARCHIVE.xattr.user.x", b"\xff*")]) + header(b"x"),
    "a lying size": header(b"x", size=b"%011o" % 10_000_000),
    "a size beyond everything": header(b"x", size=b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7),
    "a negative size": header(b"x", size=b"\xff" * 12),
    "a size that is no number": header(b"x", size=b"12x4"),
    "a pax size that is no number": pax([(b"size", b"-5")]) + header(b"x"),
    "a negative user": header(b"x", uid=b"\xff" * 8),
    "the user that is none": pax([(b"uid", b"4294967295")]) + header(b"x"),
    "a time that is no number": pax([(b"mtime", b"1e999999999")]) + header(b"x"),
    "a time beyond everything": header(b"x", mtime=b"\x80" + b"\x7f" * 11),
    "an unknown type": header(b"x", b"Z"),
    "a part of several volumes": header(b"x", b"M"),
    "a damaged checksum": header(b"y")[:-400] + b"!" + header(b"y")[-399:],
    "a damaged pax record": header(b"p", b"x", b"99 path=x\n") + header(b"x"),
    "a pax record of no length": header(b"p", b"x", b"0 path=x\n") + header(b"x"),
    "an extension of nothing": pax([(b"path", b"x")]),
    "a sparse map beyond the file": header(b"x", b"S", b"data", sparse=b"%011o\0%011o\0" % (100, 4)
        + bytes(72) + b"\0" + b"%011o\0" % 50),
    "a sparse map that goes back": pax([*SPARSE_1_0, (b"GNU.sparse.realsize", b"9999")])
        + header(b"x", data=b"2\n600\n1\n0\n1\n".ljust(512, b"\0") + b"ab"),
    "a sparse map that is cut off": pax([*SPARSE_1_0, (b"GNU.sparse.realsize", b"9999")])
        + header(b"x", data=b"9\n600\n1\n".ljust(512, b"\0")),
    "a sparse map of other length": pax([*SPARSE_1_0, (b"GNU.sparse.realsize", b"9999")])
        + header(b"x", data=b"1\n0\n4000\n".ljust(512, b"\0") + b"ab"),
    "a sparse bomb": pax([*SPARSE_1_0, (b"GNU.sparse.realsize", b"9223372036854775807")])
        + header(b"x", data=b"0\n".ljust(512, b"\0")),
    "an old sparse bomb": header(b"x", b"S", sparse=bytes(97) + b"\x80" + b"\0" * 4 + b"\x10" + bytes(6)),
    "sparse without a size": pax([(b"GNU.sparse.map", b"0,0")]) + header(b"x"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_changes_nothing(store, held, tmp_path, what):
    store.put_tar(io.BytesIO(PLAIN + END), ref=Ref(name="before", digest=""))
    before = held(store.path)
    outside = sorted(os.listdir(tmp_path))
    with pytest.raises(ArchiveInvalid, match="Invalid archive at '") as caught:
        store.put_tar(
            io.BytesIO(header(b"new", data=b"new content") + HOSTILE[what] + END), ref=Ref(name="evil", digest="")
        )
    assert caught.value.exit_code == 6
    assert held(store.path) == before
    assert store.find_ref("evil") is None
    assert sorted(os.listdir(tmp_path)) == outside


@pytest.mark.parametrize("name", [b"a/b/..", b"a/b/.", b"a/b/c\0", b"a/b/" + b"n" * 256, b"a/b/" + b"n" * 60])
def test_a_neighbour_is_looked_at_as_closely_as_the_first(store, name):
    sound = header(b"a/b/first") + header(b"a/b/second")
    with pytest.raises(ArchiveInvalid, match="Invalid archive at 'a/b/"):
        import_with(store, sound + pax([(b"path", name)]) + header(b"x") + END, path=60)


def test_neighbours_are_together_however_they_are_named(store):
    names = [
        b"a/b/one",
        b"a/b/two",
        b"./a/b/three",
        b"a//b/four",
        b"a/b//five",
        b"a/six",
        b"a/b/d/",
        b"a/b/d/x",
    ]
    members = b"".join(header(name, DIR if name.endswith(b"/") else REG) for name in names)
    result = store.put_tar(io.BytesIO(members + END))
    paths = sorted(entry.path for entry in store.entries(result.digest) if entry.type is EntryType.FILE)
    assert paths == [b"a/b/d/x", b"a/b/five", b"a/b/four", b"a/b/one", b"a/b/three", b"a/b/two", b"a/six"]


@pytest.mark.parametrize("data", [bytes(512), b"\xff" * 512, bytes(range(256)) * 2, header(b"x")[:512]])
def test_the_sum_of_a_header_is_exact(data):
    assert _sum_of(data) == sum(data)


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 800, 1023, 1024, 1535])
def test_an_archive_that_is_cut_off_anywhere_is_refused(store, held, length):
    whole = PLAIN + header(b"more", data=b"x" * 10) + END
    with pytest.raises(ArchiveInvalid, match=r"cut off|Not a tar"):
        store.put_tar(io.BytesIO(whole[:length]), ref=Ref(name="short", digest=""))
    assert held(store.path) == {}


def test_the_message_names_the_member(store):
    with pytest.raises(ArchiveInvalid, match=r"'etc/\.\./\.\./evil'.*leads outside"):
        store.put_tar(io.BytesIO(PLAIN + header(b"etc/../../evil") + END))


def import_with(store, data, **limits):
    store._layout.prepare()
    with open_writer(store._layout) as writer:
        return TarImport(writer, mtime=MtimePolicy.KEEP, progress=SILENT, limits=Limits(**limits)).run(io.BytesIO(data))


def test_what_nobody_could_read_is_not_written(store):
    store._layout.prepare()
    large = Metadata(0o644, 0, 0, 0, 0, ((b"user.x", bytes(70000)),))
    with open_writer(store._layout) as writer:
        for entry in (FifoEntry(b"..", large), FifoEntry(b"x", large)):
            with pytest.raises(ObjectCorrupt):
                writer.add_record(DirectoryRecord((entry,)))
        writer.publish()
    assert store.usage().trees == 0


def test_limits_hold(store):
    deep = header(b"a/b/c/d/e") + END
    for limits, data in (
        ({"entries": 4}, deep),
        ({"depth": 4}, deep),
        ({"path": 8}, deep),
        ({"content": 9}, header(b"a", data=b"12345") + header(b"b", data=b"12345") + END),
        ({"header": 2048}, pax([(b"comment", b"x" * 3000)]) + PLAIN + END),
        ({"header": 2048}, pax([(b"comment", b"x")]) * 3 + PLAIN + END),
        ({"header": 2048}, pax([(b"k%d" % n, b"v" * 300) for n in range(3)], b"g") * 3 + PLAIN + END),
        ({"metadata": 999}, pax([(b"SCHILY.xattr.user.x", b"v" * 999)]) + PLAIN + END),
        ({"metadata": 999}, pax([(b"SCHILY.acl.access", LONG_ACL[:2000].rpartition(b",")[0])]) + PLAIN + END),
        ({"metadata": 999}, header(b"x", SYM, target=b"t" * 99) * 10 + END),
        ({"metadata": 999}, header(b"n" * 99) * 11 + END),
        ({"metadata": 999}, header(b"n" * 99 + b"/x") * 11 + PLAIN + header(b"x" * 99, LNK, target=b"good") * 9 + END),
    ):
        with pytest.raises(ArchiveInvalid):
            import_with(store, data, **limits)
        import_with(store, data)


ENDLESS = {
    "one long pax header": "header(b'p', b'x', size=b'%011o' % (8 << 30)) + FILL",
    "one long name": "header(b'p', b'L', size=b'%011o' % (8 << 30)) + FILL",
    "an endless chain of headers": "CHAIN",
    "an endless sparse map": "header(b'p', b'S', sparse=bytes(96) + b'1') + EXTENSION",
    "global records without end": "GLOBAL",
    "attributes without end": "ATTRIBUTES",
    "targets without end": "TARGETS",
    "hard links without end": "LINKS",
}
BOUNDED = """
import resource, sys
sys.path[:0] = [{folder!r}]
from pathlib import Path
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("tars", {file!r})
tars = module_from_spec(spec)
spec.loader.exec_module(tars)
header, pax = tars.header, tars.pax
from volt_cas.store import CasStore
from volt_core.errors import ArchiveInvalid

class Members:
    # Members that hold little content and much of something else; each has its own name.
    def __init__(self, name):
        self.left = tars.PLAIN if name == "LINKS" else b""
        self.name = name
        self.number = 0
        deep = (b"d" * 200 + b"/") * 19
        self.make = {{
            "ATTRIBUTES": lambda name: attributes + header(name),
            "TARGETS": lambda name: pax([(b"linkpath", b"t" * 4000)]) + header(name, b"2"),
            "LINKS": lambda name: pax([(b"path", deep + name)]) + header(b"x", b"1", target=b"good"),
        }}[name]
    def read(self, size):
        while len(self.left) < size:
            self.number += 1
            self.left += self.make(b"%d" % self.number)
        data, self.left = self.left[:size], self.left[size:]
        return data

attributes = pax([(b"SCHILY.xattr.user.%d" % n, bytes(65000)) for n in range(60)])
FILL = CHAIN = GLOBAL = EXTENSION = b""
rest = {{
    "FILL": bytes(1 << 20),
    "CHAIN": pax([(b"path", b"x")]) * 1000,
    "EXTENSION": (b"%011o\\0" % 0 * 42 + b"\\1").ljust(512, b"\\0") * 1000,
    "GLOBAL": b"".join(pax([(b"k%d" % n, b"v" * 4000)], b"g") for n in range(200)),
}}
name = {name!r}

class Endless:
    def __init__(self):
        self.left = eval(name)
        self.fill = next(data for key, data in rest.items() if key in name)
    def read(self, size):
        while len(self.left) < size:
            self.left += self.fill
        data, self.left = self.left[:size], self.left[size:]
        return data

store = CasStore(Path(sys.argv[1]))
used = int(open("/proc/self/statm").read().split()[0]) * 4096
members = name in ("ATTRIBUTES", "TARGETS", "LINKS")
resource.setrlimit(resource.RLIMIT_AS, (used + ((600 if members else 128) << 20),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60 if members else 20,) * 2)
try:
    store.put_tar(Members(name) if members else Endless())
except ArchiveInvalid as error:
    print(error)
"""


@pytest.mark.parametrize("what", ENDLESS)
def test_headers_cannot_exhaust_memory(tmp_path, what):
    script = BOUNDED.format(folder=str(tmp_path), file=__file__, name=ENDLESS[what])
    argv = [sys.executable, "-c", script, str(tmp_path / "cas")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    refusals = ("headers take more than", "global records are too large", "names, targets and attributes take")
    assert any(refusal in done.stdout for refusal in refusals), done
    assert done.returncode == 0


def test_a_sparse_file_takes_no_room(store):
    size = 1 << 30
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"hole")]
    data = (b"1\n%d\n4\n" % (size - 4)).ljust(512, b"\0") + b"last"
    archive = pax([*records, (b"GNU.sparse.realsize", b"%d" % size)]) + header(b"GNUSparse/hole", data=data) + END
    result = store.put_tar(io.BytesIO(archive))
    (entry,) = list(store.entries(result.digest))[1:]
    assert (entry.path, entry.size) == (b"hole", size)
    (path,) = (path for path in (store.path / "objects").rglob("*") if path.is_file())
    assert path.stat().st_size == size
    assert path.stat().st_blocks < 100


def test_a_small_sparse_file_is_the_content_that_it_has(store, engine):
    plain = header(b"plain", data=bytes(5000) + b"last")
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"hole")]
    data = b"1\n5000\n4\n".ljust(512, b"\0") + b"last"
    sparse = pax([*records, (b"GNU.sparse.realsize", b"5004")]) + header(b"GNUSparse/hole", data=data)
    result = store.put_tar(io.BytesIO(plain + sparse + END))
    assert (result.files, result.new_objects, result.new_bytes) == (2, 1, 5004)
    assert len({entry.digest for entry in store.entries(result.digest) if entry.path}) == 1


def test_what_many_members_hold_is_stored_once(store, engine):
    """They are hashed and written in batches, by several threads."""
    members = b"".join(header(b"%d" % number, data=b"%d" % (number % 3)) for number in range(900))
    for new in (3, 0):
        result = store.put_tar(io.BytesIO(members + END))
        assert (result.files, result.new_objects, result.new_bytes) == (900, new, new)
    assert not store.verify().damaged


def test_an_object_that_is_damaged_is_replaced(store, engine):
    digest = store.put_tar(io.BytesIO(PLAIN + END), ref=Ref(name="x", digest="")).digest
    (path,) = (path for path in (store.path / "objects").rglob("*") if path.is_file())
    path.write_bytes(b"short")
    assert len(store.verify().damaged) == 1
    assert store.put_tar(io.BytesIO(PLAIN + END)).digest == digest
    assert not store.verify().damaged


def entries(store, *members):
    return {entry.path: entry for entry in store.entries(store.put_tar(io.BytesIO(b"".join(members) + END)).digest)}


def test_the_last_of_two_members_wins(store):
    found = entries(store, header(b"x", data=b"one"), header(b"d/y"), header(b"d", DIR, mode=b"0000700"),
                    header(b"./x", data=b"three"), header(b"s", SYM, target=b"d"), header(b"s", DIR),
                    header(b"s/z"))  # fmt: skip
    assert found[b"x"].size == 5
    assert found[b"d"].mode == 0o700
    assert found[b"s"].type is EntryType.DIRECTORY
    assert {b"d/y", b"s/z"} <= found.keys()


def test_missing_parents_are_made(store):
    found = entries(store, header(b"a/b/c", uid=b"0000123"))
    assert (found[b"a/b"].mode, found[b"a/b"].uid, found[b"a/b"].mtime_ns) == (0o755, 0, 0)
    assert found[b""].mode == 0o755


def test_hard_links_are_one_inode_and_survive_a_replaced_name(store):
    found = entries(store, header(b"a", data=b"x"), header(b"b", LNK, target=b"./a"), header(b"c", LNK, target=b"b"),
                    header(b"a", data=b"y"), header(b"e", FIFO), header(b"f", LNK, target=b"e"))  # fmt: skip
    groups = {path: entry.hardlink_group for path, entry in found.items()}
    assert groups == {b"": 0, b"a": 0, b"b": 1, b"c": 1, b"e": 2, b"f": 2}
    assert found[b"f"].type is EntryType.FIFO


def test_times_are_exact(store):
    for text, expected in (
        (b"1700000000.123456789", 1_700_000_000_123_456_789),
        (b"1700000000.1234567899999", 1_700_000_000_123_456_789),
        (b"0.5", 500_000_000),
        (b"-1.5", -1_500_000_000),
        (b"-0.000000001", -1),
        (b"9999999999999", 9_999_999_999_999 * 10**9),
    ):
        assert entries(store, pax([(b"mtime", text)]), header(b"x"))[b"x"].mtime_ns == expected
    assert entries(store, header(b"x", mtime=b"\xff" * 12))[b"x"].mtime_ns == -(10**9)


def test_attributes_of_both_families_are_taken(store):
    found = entries(
        store,
        pax([(b"SCHILY.xattr.user.a", b"x\0=\n\xff"), (b"LIBARCHIVE.xattr.user.b%20c", b"AP8"),
             (b"SCHILY.xattr.user.100%25%3D%3d%41", b"1"),
             (b"SCHILY.xattr.user.empty", b""), (b"SCHILY.xattr.security.selinux", b"label")]),
        header(b"x"),
    )  # fmt: skip
    assert dict(found[b"x"].xattrs) == {"user.a": b"x\0=\n\xff", "user.b c": b"\0\xff", "user.empty": b"",
                                         "user.100%=%3d%41": b"1"}  # fmt: skip
    archive = pax([(b"SCHILY.xattr.security.selinux", b"label")]) + header(b"x") + END
    (note,) = store.put_tar(io.BytesIO(archive)).notes
    assert "security" in note


def test_the_notes_about_attributes_are_few_and_can_be_printed(store):
    records = [(b"SCHILY.xattr.\x1b[2J%d.x" % number, b"1") for number in range(50)]
    result = store.put_tar(io.BytesIO(pax([*records, (b"SCHILY.xattr.trusted.x", b"1")]) + header(b"x") + END))
    assert sorted(result.notes) == [
        "Left out attributes 'trusted.*': 1, the first at 'x'",
        "Left out attributes of unknown namespaces: 50, the first at 'x'",
    ]


def test_global_records_hold_until_they_are_taken_back(store):
    found = entries(store, pax([(b"uid", b"77")], b"g"), header(b"a"), pax([(b"uid", b"78")]), header(b"b"),
                    header(b"c"), pax([(b"uid", b"")], b"g"), header(b"d"))  # fmt: skip
    assert [found[name].uid for name in (b"a", b"b", b"c", b"d")] == [77, 78, 77, 0]


def test_an_acl_is_the_same_as_text_and_as_attribute():
    value = bytes.fromhex("0200000001000700ffffffff0200070031d4000004000500ffffffff10000700ffffffff20000500ffffffff")
    text = acl.render_acl_text(value)
    assert text == b"user::rwx,user:54321:rwx,group::r-x,mask::rwx,other::r-x"
    assert acl.parse_acl_text(text) == value
    assert acl.parse_acl_text(b"u::rwx\nu:joe:rwx:54321\ng::r-x\nm::rwx #effective\no::r-x\n") == value
    assert acl.parse_acl_text(b"user::rw-,group::r--,other::---") is None
    # As a default ACL it is more than a mode: what is made below gets it.
    assert acl.parse_acl_text(b"user::rw-,group::r--,other::---", default=True) is not None
    assert acl.parse_acl_text(b"", default=True) is None
    for bad in (b"user:joe:rwx", b"x::rwx", b"mask:7:rwx", b"user::abc", b"user", b"\xff"):
        with pytest.raises(ValueError):  # noqa: PT011  (which one does not matter, the caller leaves the ACL out)
            acl.parse_acl_text(bad)


def test_what_comes_behind_the_end_is_not_read(store):
    stream = io.BytesIO(PLAIN + END + b"garbage" * 1000)
    store.put_tar(stream)
    assert stream.tell() <= len(PLAIN) + 1024


def test_what_tarfile_writes_is_understood(store):
    for format_ in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=format_) as archive:
            info = tarfile.TarInfo("d" * 90 + "/" + "f" * 90)
            info.size, info.uid = 5, 70000
            archive.addfile(info, io.BytesIO(b"hello"))
        out.seek(0)
        found = {entry.path: entry for entry in store.entries(store.put_tar(out).digest)}
        assert found[b"d" * 90 + b"/" + b"f" * 90].uid == 70000


@pytest.mark.parametrize("data", [b"", b"text", b"text " * 1000, b"\x04\x22\x4d\x18" + os.urandom(2000)])
def test_what_is_no_tar_at_all(store, data):
    with pytest.raises(ArchiveInvalid, match=r"Not a tar, or in a compression that Volt does not know.*xz and zstd"):
        store.put_tar(io.BytesIO(data))
