"""``volt cas show``, ``cat``, ``diff`` and ``df``."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

from volt_core.contracts import Ref


def test_show_prints_the_ref_the_tree_and_what_it_holds(call, shop, grow):
    digest = grow("one", "images/x:1", kind="image")
    document = json.loads(call("show", "x:1")[0])
    assert (document["schema"], document["tree"]) == ("volt.cas-show.v1", digest)
    assert (document["ref"]["name"], document["ref"]["kind"]) == ("images/x:1", "image")
    assert document["counts"] == {"directory": 2, "file": 1, "bytes": 3}
    assert [entry["path"] for entry in document["entries"]] == ["sub"]
    assert json.loads(call("show", digest, "--json")[0])["ref"] is None


def test_show_of_an_entry_has_all_that_the_record_has(call, shop, tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    (top / "file").write_text("x")
    (top / "file").chmod(0o4750)
    os.setxattr(top / "file", "user.note", b"\xff")
    os.utime(top / "file", ns=(-1, -1))
    os.link(top / "file", top / "same")
    digest = shop.put_directory(top).digest
    entry = json.loads(call("show", digest, "file")[0])["entry"]
    assert (entry["mode"], entry["xattrs"], entry["hardlink_group"]) == ("4750", {"user.note": "/w=="}, 1)
    assert entry["mtime"] == {"seconds": -1, "nanoseconds": 999_999_999}
    assert "entries" not in json.loads(call("show", digest, "file")[0])
    assert "no 'nothing'" in call("show", digest, "nothing", ok=3)[1]


def test_cat_writes_bytes_and_follows_links_inside_the_tree(call, shop, tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    (top / "file").write_text("content\n")
    (top / "link").symlink_to("/../file")
    shop.put_directory(top, ref=Ref(name="a", digest=""))
    for path in ("file", "/file", "link"):
        assert call("cat", "a", path) == ("content\n", "")
    for path, why in (("", "is a directory"), ("no", "no 'no'"), ("file/x", "no 'file/x'")):
        assert why in call("cat", "a", path, ok=3)[1]


@pytest.fixture
def large(shop, tmp_path):
    """A tree with a file of 300 MB, nearly all of it a hole."""
    top = tmp_path / "top"
    top.mkdir()
    (top / "large").write_bytes(b"begin")
    os.truncate(top / "large", 300_000_000)
    shop.put_directory(top, ref=Ref(name="a", digest=""))
    return [sys.executable, "-m", "volt_core", "--root", str(tmp_path / "root"), "cas", "cat", "a", "large"]


def test_cat_of_a_large_file_needs_little_memory(large):
    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (150_000_000, 150_000_000))

    with subprocess.Popen(large, stdout=subprocess.PIPE, preexec_fn=limit) as process:
        size = 0
        while data := process.stdout.read(1 << 20):
            size += len(data)
    assert (process.returncode, size) == (0, 300_000_000)


def test_cat_into_a_closed_pipe_is_quiet(large):
    with subprocess.Popen(large, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(5) == b"begin"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_diff_says_how_in_lines_in_json_and_in_numbers(call, shop, grow, tmp_path):
    grow("one", "a")
    grown = tmp_path / "grown"
    (grown / "sub/file").write_text("three")
    (grown / "sub/file").chmod(0o600)
    (grown / "more").mkdir()
    for path in (grown / "sub/file", grown / "sub", grown):
        os.utime(path, ns=(10**18, 10**18))
    shop.put_directory(grown, ref=Ref(name="b", digest=""))
    lines = call("diff", "a", "b")[0].splitlines()
    assert lines == ["+ more/", "~ sub/file: content 3 -> 5 bytes, mode 0644 -> 0600"]
    assert call("diff", "b", "a")[0].splitlines()[0] == "- more/"
    items = json.loads(call("diff", "a", "b", "--json")[0])["items"]
    assert [(it["path"], it["kind"], it["aspects"]) for it in items] == [
        ("more", "added", []),
        ("sub/file", "changed", ["content", "mode"]),
    ]
    assert (items[1]["before"]["mode"], items[1]["after"]["mode"]) == ("0644", "0600")
    assert call("diff", "a", "b", "--stat")[0] == "1 added (0 B), 0 removed (0 B), 1 changed (5 B)\n"
    stat = json.loads(call("diff", "a", "b", "--stat", "--json")[0])
    assert stat["changed"] == {"entries": 1, "bytes": 5}


def test_diff_ends_with_1_only_when_asked_to(call, grow):
    grow("one", "a")
    grow("two", "b")
    call("diff", "a", "b")
    for more in ((), ("--json",), ("--stat",)):
        call("diff", "a", "b", "--exit-code", *more, ok=1)
        call("diff", "a", "a", "--exit-code", *more)
    assert call("diff", "a", "a") == ("", "")
    assert "no ref 'c'" in call("diff", "a", "c", ok=3)[1]


def test_diff_reads_no_equal_subtree(shop, tmp_path):
    top = tmp_path / "top"
    (top / "same/deep").mkdir(parents=True)
    (top / "other").mkdir()
    for path in ("same/deep/file", "other/file"):
        (top / path).write_text("x")
    before = shop.put_directory(top).digest
    (top / "other/file").write_text("y")
    after = shop.put_directory(top).digest
    same = next(iter(shop.entries(before, b"same"))).digest.removeprefix("sha256:")
    (shop.path / "trees" / same[:2] / same[2:]).unlink()
    assert {change.path for change in shop.diff(before, after)} == {b"other/file"}


def test_diff_finds_regrouped_links_in_directories_that_are_equal(shop, tmp_path):
    top = tmp_path / "top"
    for folder in ("a", "b", "c"):
        (top / folder).mkdir(parents=True)
        (top / folder / "file").write_text("x")
    os.link(top / "a/file", top / "a/same")
    (top / "b/same").write_text("x")
    (top / "c/same").write_text("x")
    times = (10**18, 10**18)

    def put():
        for path in (*top.rglob("*"), top):
            os.utime(path, ns=times)
        return shop.put_directory(top).digest

    before = put()
    (top / "a/same").unlink()
    (top / "a/same").write_text("x")
    (top / "b/same").unlink()
    os.link(top / "b/file", top / "b/same")
    found = [(change.path, [*map(str, change.aspects)]) for change in shop.diff(before, put())]
    assert found == [(path, ["hardlinks"]) for path in (b"a/file", b"a/same", b"b/file", b"b/same")]


def test_df_tells_blocks_garbage_and_shares(call, shop, grow):
    grow("x" * 5000, "a")
    grow("y" * 3000)
    document = json.loads(call("df", "--json")[0])
    assert document["gc"] == {"bytes": 0, "objects": 0}  # it is young
    space = document["space"]
    assert space["allocated_bytes"] >= 2 * 4096 + 4096
    assert [(ref["name"], ref["bytes"], ref["unique_bytes"]) for ref in space["refs"]] == [("a", 5000, 5000)]
    shown, _ = call("df")
    assert "gc would free" in shown
    assert shown.splitlines()[-1].split() == ["a", "4.9", "KiB", "4.9", "KiB", "0%"]


def test_df_counts_the_inodes_of_linked_trees_once(shop, grow):
    digest = grow("x" * 100_000, "a")
    before = shop.space().allocated_bytes
    shop.linked_tree(digest)
    assert shop.space().allocated_bytes - before < 50_000


def test_df_of_nothing_and_beside_a_damaged_ref(call, shop, grow):
    assert "taken by the store, in whole blocks  0 B" in call("df")[0]
    grow("one", "a")
    (shop.path / "refs/a.json").write_text("{")
    out, said = call("df")
    assert "not known" in said
    assert "gc would free                        -" in out


def test_unique_bytes_against_a_plain_count(shop, tmp_path):
    top = tmp_path / "top"
    names = "abcdef"
    for number, name in enumerate(names):
        for other in names[number:]:
            folder = top / name / other
            folder.mkdir(parents=True)
            (folder / "file").write_text(f"{name if number % 2 else other}{number % 3}" * 10)
        shop.put_directory(top, ref=Ref(name=name, digest=""), exclude=["a"] if name == "f" else [])
    reached = {
        ref.name: {entry.digest: entry.size for entry in shop.entries(ref.digest) if entry.type == "f"}
        for ref in shop.refs()
    }
    for share in shop.space().refs:
        others = set().union(*(reached[name] for name in reached if name != share.name))
        mine = reached[share.name]
        assert share.bytes == sum(mine.values())
        assert share.unique_bytes == sum(size for digest, size in mine.items() if digest not in others)
