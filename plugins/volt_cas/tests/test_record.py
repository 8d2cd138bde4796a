"""Format 1 is final: these bytes never change, and nothing else is taken for a record."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from pathlib import Path

import msgspec
import pytest

from volt_cas import record
from volt_cas.layout import digest_text, fan_out
from volt_cas.record import DirectoryEntry, DirectoryRecord, FileEntry, LinksRecord, Metadata, SymlinkEntry, TreeRecord
from volt_cas.store import CasStore
from volt_core.contracts import Ref
from volt_core.errors import ObjectCorrupt, StateCorrupt, StateTooNew, StoreError

# The tree of docs/formats.md: "a" and "b" are one inode with b"hello\n", "\xff" is a symlink to "a".
HELLO = bytes.fromhex("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
FILE = Metadata(0o644, 0, 0, 1_700_000_000, 5, ((b"user.x", b"\0"),))
LINK = Metadata(0o777, 33, 34, -1, 0)
ROOT = Metadata(0o755, 0, 0, 1_700_000_000, 0)
DIRECTORY_BYTES = bytes.fromhex(
    "92a364697293"
    "95a166c4016196cd01a40000ce6553f100059192c406757365722e78c40100"
    "06c4205891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    "95a166c4016296cd01a40000ce6553f100059192c406757365722e78c40100"
    "06c4205891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    "94a16cc401ff96cd01ff2122ff0090c40161"
)
DIRECTORY_DIGEST = "6d922b50639dc2dba7ac3afca1c9bbd88eb7577edb6632630f9918d2495fcb22"
LINKS_BYTES = bytes.fromhex("92a56c696e6b739192c40161c40162")
LINKS_DIGEST = "518e60091f64b3c294be977ad7a1c87bfb16bd234669cdcc751b76ebbc616e81"
TREE_BYTES = bytes.fromhex(f"94a47472656596cd01ed0000ce6553f1000090c420{DIRECTORY_DIGEST}c420{LINKS_DIGEST}")
TREE_DIGEST = "3ce288ff5919546065e47049e421f005ff018b323bca76a2cd9ac2b59fbb7ff4"


def golden() -> tuple[DirectoryRecord, LinksRecord, TreeRecord]:
    entries = (FileEntry(b"a", FILE, 6, HELLO), FileEntry(b"b", FILE, 6, HELLO), SymlinkEntry(b"\xff", LINK, b"a"))
    tree = TreeRecord(ROOT, bytes.fromhex(DIRECTORY_DIGEST), bytes.fromhex(LINKS_DIGEST))
    return DirectoryRecord(entries), LinksRecord(((b"a", b"b"),)), tree


def golden_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:

        def add(name, kind, metadata, data=b"", target="", headers=None):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = kind, metadata.mode, metadata.uid, metadata.gid
            info.mtime, info.size, info.linkname, info.pax_headers = metadata.seconds, len(data), target, headers or {}
            archive.addfile(info, io.BytesIO(data))

        add(os.fsdecode(b"\xff"), tarfile.SYMTYPE, LINK, target="a", headers={"mtime": "-1"})
        headers = {"mtime": "1700000000.000000005", "SCHILY.xattr.user.x": "\0"}
        add("./b", tarfile.REGTYPE, FILE, b"hello\n", headers=headers)
        add("a", tarfile.LNKTYPE, FILE, target="b")
        add(".", tarfile.DIRTYPE, ROOT)
    return out.getvalue()


def test_the_encoding_is_that_of_format_1():
    directory, links, tree = golden()
    assert record.encode(directory) == DIRECTORY_BYTES
    assert record.address(DIRECTORY_BYTES).hex() == DIRECTORY_DIGEST
    assert record.encode(links) == LINKS_BYTES
    assert record.address(LINKS_BYTES).hex() == LINKS_DIGEST
    assert record.encode(tree) == TREE_BYTES
    assert record.address(TREE_BYTES).hex() == TREE_DIGEST
    assert record.decode(DIRECTORY_BYTES, b"") == directory
    assert record.decode(LINKS_BYTES, b"") == links
    assert record.decode(TREE_BYTES, b"") == tree


def test_the_document_has_the_same_bytes():
    text = Path(__file__).parents[3].joinpath("docs/formats.md").read_text()
    blocks = [re.sub(r"\s", "", block) for block in re.findall(r"```text\n(9[24] [^`]*)```", text)]
    assert blocks == [DIRECTORY_BYTES.hex(), LINKS_BYTES.hex(), TREE_BYTES.hex()]
    assert f"the tree is `sha256:{TREE_DIGEST}`" in text


def test_an_archive_of_the_golden_tree_has_the_golden_digest(store):
    assert store.put_tar(io.BytesIO(golden_tar())).digest == digest_text(bytes.fromhex(TREE_DIGEST))
    assert (store.path / "trees" / fan_out(bytes.fromhex(DIRECTORY_DIGEST))).read_bytes() == DIRECTORY_BYTES
    assert (store.path / "objects" / fan_out(HELLO)).read_bytes() == b"hello\n"
    assert (store.path / "format.json").read_bytes() == b'{"format":1,"hash":"sha256"}\n'
    assert store.path.stat().st_mode & 0o777 == 0o700


@pytest.mark.needs_root
def test_a_directory_of_the_golden_tree_has_the_golden_digest(store, tmp_path):
    digest = store.put_tar(io.BytesIO(golden_tar())).digest
    store.checkout(digest, tmp_path / "out")
    assert CasStore(tmp_path / "other").put_directory(tmp_path / "out").digest == digest


def test_times_beyond_64_bits_of_nanoseconds_are_kept():
    metadata = Metadata(0o644, 0, 0, 2**62, 999_999_999)
    data = record.encode(TreeRecord(metadata, HELLO))
    found = record.decode(data, b"")
    assert found.metadata.mtime_ns == 2**62 * 10**9 + 999_999_999


def entry(name: bytes, **changes: object) -> list[object]:
    parts: dict[str, object] = {"tag": "f", "mode": 0o644, "nanoseconds": 0, "uid": 0, "xattrs": [], "digest": HELLO}
    parts |= {"size": 6} | changes
    metadata = [parts["mode"], parts["uid"], 0, 0, parts["nanoseconds"], parts["xattrs"]]
    return [parts["tag"], name, metadata, parts["size"], parts["digest"]]


META = [0o755, 0, 0, 0, 0, []]
LINK_WITH_XATTR = [0o777, 0, 0, 0, 0, [[b"user.x", b""]]]
NOTHING = hashlib.sha256().digest()
BAD = {
    "not msgpack": b"\xc1",
    "cut off": DIRECTORY_BYTES[:-1],
    "something behind it": DIRECTORY_BYTES + b"\0",
    "another tag": msgspec.msgpack.encode(["list", []]),
    "a longer array": msgspec.msgpack.encode(["dir", [], 1]),
    "a wide integer": TREE_BYTES.replace(b"\xcd\x01\xed", b"\xce\x00\x00\x01\xed"),
    "unsorted": msgspec.msgpack.encode(["dir", [entry(b"b"), entry(b"a")]]),
    "a name twice": msgspec.msgpack.encode(["dir", [entry(b"a"), entry(b"a")]]),
    "dot": msgspec.msgpack.encode(["dir", [entry(b".")]]),
    "dot dot": msgspec.msgpack.encode(["dir", [entry(b"..")]]),
    "a slash": msgspec.msgpack.encode(["dir", [entry(b"a/b")]]),
    "a NUL": msgspec.msgpack.encode(["dir", [entry(b"a\0")]]),
    "no name": msgspec.msgpack.encode(["dir", [entry(b"")]]),
    "a name that is text": msgspec.msgpack.encode(["dir", [entry("a")]]),  # type: ignore[arg-type]
    "an unknown type": msgspec.msgpack.encode(["dir", [entry(b"a", tag="s")]]),
    "a mode with a type": msgspec.msgpack.encode(["dir", [entry(b"a", mode=0o100644)]]),
    "a full second": msgspec.msgpack.encode(["dir", [entry(b"a", nanoseconds=10**9)]]),
    "no user": msgspec.msgpack.encode(["dir", [entry(b"a", uid=2**32 - 1)]]),
    "a short digest": msgspec.msgpack.encode(["dir", [entry(b"a", digest=HELLO[:31])]]),
    "unsorted attributes": msgspec.msgpack.encode(["dir", [entry(b"a", xattrs=[[b"b", b""], [b"a", b""]])]]),
    "a whiteout": msgspec.msgpack.encode(["dir", [["c", b"a", META, 0, 0]]]),
    "an attribute of overlayfs": msgspec.msgpack.encode(["dir", [entry(b"a", xattrs=[[b"user.overlay.x", b""]])]]),
    "an attribute of the host": msgspec.msgpack.encode(["dir", [entry(b"a", xattrs=[[b"security.selinux", b""]])]]),
    "a trusted attribute": msgspec.msgpack.encode(["dir", [entry(b"a", xattrs=[[b"trusted.foo", b""]])]]),
    "a symlink's attribute": msgspec.msgpack.encode(["dir", [["l", b"a", LINK_WITH_XATTR, b"t"]]]),
    "a root's attribute": msgspec.msgpack.encode(["tree", [*META[:5], [[b"trusted.foo", b""]]], HELLO, None]),
    "nothing with the digest of something": msgspec.msgpack.encode(["dir", [entry(b"a", size=0)]]),
    "something with the digest of nothing": msgspec.msgpack.encode(["dir", [entry(b"a", digest=NOTHING)]]),
    "a long name": msgspec.msgpack.encode(["dir", [entry(b"a" * 256)]]),
    "a symlink's mode": msgspec.msgpack.encode(["dir", [["l", b"a", META, b"t"]]]),
    "a group of one": msgspec.msgpack.encode(["links", [[b"a"]]]),
    "an unsorted group": msgspec.msgpack.encode(["links", [[b"b", b"a"]]]),
    "unsorted groups": msgspec.msgpack.encode(["links", [[b"c", b"d"], [b"a", b"b"]]]),
    "a path in two groups": msgspec.msgpack.encode(["links", [[b"a", b"c"], [b"b", b"c"]]]),
    "a group with the root": msgspec.msgpack.encode(["links", [[b"", b"a"]]]),
    "a group with a path that leads out": msgspec.msgpack.encode(["links", [[b"../x", b"a"]]]),
    "a group with an absolute path": msgspec.msgpack.encode(["links", [[b"/abs", b"a"]]]),
    "a group with an empty name": msgspec.msgpack.encode(["links", [[b"a//b", b"b"]]]),
    "a group with a NUL": msgspec.msgpack.encode(["links", [[b"a", b"b\0"]]]),
    "a group with a long name": msgspec.msgpack.encode(["links", [[b"a", b"b" * 256]]]),
    "no group": msgspec.msgpack.encode(["links", []]),
    "groups in the top record": msgspec.msgpack.encode(["tree", META, HELLO, [[b"a", b"b"]]]),
    "a top record without links": msgspec.msgpack.encode(["tree", META, HELLO]),
}


@pytest.mark.parametrize("what", BAD)
def test_whatever_is_not_canonical_is_refused(what):
    assert record.decode(msgspec.msgpack.encode(["dir", [entry(b"a"), ["d", b"b", META, HELLO]]]), HELLO)
    with pytest.raises(ObjectCorrupt):
        record.decode(BAD[what], HELLO)


def test_a_newer_format_is_refused(tmp_path):
    tmp_path.joinpath("format.json").write_text('{"format": 2, "hash": "sha256"}')
    with pytest.raises(StateTooNew, match="upgrade"):
        CasStore(tmp_path)
    tmp_path.joinpath("format.json").write_text('{"format": 1, "hash": "blake9"}')
    with pytest.raises(StateTooNew, match="blake9"):
        CasStore(tmp_path)
    tmp_path.joinpath("format.json").write_text('{"format": 0, "hash": "sha256"}')
    with pytest.raises(StateCorrupt, match="format 0"):
        CasStore(tmp_path)


@pytest.mark.parametrize("data", [b'{"for', b'{"format":1,"hash":"\xff"}', b'{"format":1,"x":' + b"[" * 100_000])
def test_a_damaged_format_file_is_refused(tmp_path, data):
    tmp_path.joinpath("format.json").write_bytes(data)
    with pytest.raises(StateCorrupt, match=r"format\.json"):
        CasStore(tmp_path)


def test_a_newer_format_is_noticed_by_whoever_has_the_store_open(store, tmp_path):
    (tmp_path / "tree").mkdir()
    digest = store.put_directory(tmp_path / "tree", ref=Ref(name="x", digest="")).digest
    store.path.joinpath("format.json").write_text('{"format":2,"hash":"sha256"}')
    for act in (
        lambda: store.put_directory(tmp_path / "tree"),
        lambda: store.checkout(digest, tmp_path / "out"),
        lambda: store.set_ref(Ref(name="y", digest=digest)),
        lambda: store.delete_ref("x"),
        store.verify,
        store.gc,
    ):
        with pytest.raises(StateTooNew):
            act()
    assert [ref.name for ref in store.refs()] == ["x"]


def forge(store: CasStore, value: record.Record) -> bytes:
    """Put a record into the store behind its back; return its digest."""
    data = record.encode(value)
    path = store.path / "trees" / fan_out(record.address(data))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return record.address(data)


def test_versions_of_a_tree_share_their_hard_link_groups(store, tmp_path):
    top = tmp_path / "tree"
    top.mkdir()
    (top / "a").write_text("a")
    (top / "b").hardlink_to(top / "a")
    store.put_directory(top, ref=Ref(name="first", digest=""))
    trees = store.usage().trees
    (top / "c").write_text("c")
    store.put_directory(top, ref=Ref(name="second", digest=""))
    assert (trees, store.usage().trees) == (3, 5)
    store.delete_ref("first")
    assert store.gc(grace=0).trees == 2
    assert store.verify().damaged == ()
    groups = [entry.hardlink_group for entry in store.entries(store.find_ref("second").digest)]
    assert groups == [0, 1, 1, 0]


def test_hard_link_groups_that_do_not_fit_the_tree_are_found(store, tmp_path):
    (tmp_path / "tree").mkdir()
    for name in ("a", "b"):
        (tmp_path / "tree" / name).write_text(name)
    for name in ("sub", "sub2"):
        (tmp_path / "tree" / name).mkdir()
        os.utime(tmp_path / "tree" / name, (1, 1))
    digest = store.put_directory(tmp_path / "tree").digest
    top = record.decode((store.path / "trees" / fan_out(bytes.fromhex(digest[7:]))).read_bytes(), b"")
    for group in ((b"a", b"b"), (b"a", b"nowhere"), (b"a", b"a/b"), (b"sub", b"sub2")):
        links = forge(store, LinksRecord((group,)))
        digest = digest_text(forge(store, TreeRecord(top.metadata, top.digest, links)))
        store.set_ref(Ref(name="forged", digest=digest))
        (line,) = store.verify().damaged
        assert "hard-link group" in line
        assert "forged" in line


def nested(store: CasStore, levels: int, *names: bytes) -> str:
    """Forge a tree where each directory has the next one under each of these names; return its digest."""
    metadata = Metadata(0o755, 0, 0, 0, 0)
    digest = forge(store, DirectoryRecord((FileEntry(b"file", metadata, 6, HELLO),)))
    for _ in range(levels - 1):
        digest = forge(store, DirectoryRecord(tuple(DirectoryEntry(name, metadata, digest) for name in names)))
    return digest_text(forge(store, TreeRecord(metadata, digest)))


def test_a_few_records_that_are_a_huge_tree_are_soon_counted_and_verified(store, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("hello\n")
    store.put_directory(tmp_path / "tree")
    store.set_ref(Ref(name="x", digest=nested(store, 60, b"a", b"b")))
    assert store.usage().referenced_bytes == 2**59 * 6
    assert store.verify().damaged == ()
    (store.path / "objects" / fan_out(HELLO)).write_text("HELLO\n")
    (line,) = store.verify().damaged
    assert "/file' in x" in line
    store.set_ref(Ref(name="x", digest=nested(store, 90, b"a", b"b")))
    assert store.usage().referenced_bytes == 2**63 - 1


@pytest.mark.usefixtures("twin")
def test_a_tree_that_is_too_deep_is_refused(store, tmp_path, monkeypatch):
    # The one that the others import it from comes last: some of them may be imported here for the first time.
    for module in ("objects", "browse", "tree", "errors", "record"):
        monkeypatch.setattr(f"volt_cas.{module}.MAX_DEPTH", 8)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("hello\n")
    store.put_directory(tmp_path / "tree")
    for levels in (8, 9):
        digest = nested(store, levels, b"a")
        store.set_ref(Ref(name="x", digest=digest))
        acts = (
            lambda: list(store.entries(digest)),  # noqa: B023
            lambda: store.checkout(digest, tmp_path / f"out{levels}"),  # noqa: B023
            lambda: store.export_tar(digest, io.BytesIO()),  # noqa: B023
        )
        for act in acts:
            if levels == 8:
                act()
            else:
                with pytest.raises(ObjectCorrupt, match="8 levels"):
                    act()
        assert len(store.verify().damaged) == (levels == 9)
    assert store.put_directory(tmp_path / "out8").digest
    (tmp_path / "deep" / "/".join("abcdefgh")).mkdir(parents=True)
    with pytest.raises(StoreError, match="8 directories deep"):
        store.put_directory(tmp_path / "deep")
