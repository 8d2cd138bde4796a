"""``volt cas`` end to end, in a process of its own as a user calls it."""

from __future__ import annotations

import json
import os
import sys

import pytest

from volt_core import run
from volt_core.testing.trees import differences


@pytest.fixture
def volt(tmp_path):
    """Run volt on an instance of its own; returns status, stdout and stderr."""

    def call(*words, ok=(0,)):
        argv = [sys.executable, "-m", "volt_core", "--root", str(tmp_path / "root"), *map(str, words)]
        done = run.run(argv, timeout=60, ok=ok, env={"PYTHONWARNINGS": "error"})
        return done.status, done.stdout.decode(), done.stderr.decode()

    return call


@pytest.fixture
def source(tmp_path):
    top = tmp_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "sub/file").write_text("content")
    (top / "link").symlink_to("sub/file")
    with open(os.fsencode(top) + b"/\xff\n", "w") as file:
        file.write("odd")
    return top


def test_a_tree_is_built_listed_checked_out_and_collected(volt, source, tmp_path):
    _, digest, said = volt("cas", "build", source, "--ref", "mine/tree")
    digest = digest.strip()
    assert digest.startswith("sha256:")
    assert "2 files" in said
    for name in ("mine/tree", digest):
        assert volt("cas", "ls", name)[1].splitlines() == ["link", "sub", "\\xff\\n"]
    assert volt("cas", "ls", "mine/tree", "sub")[1] == "sub/file\n"
    assert "-> sub/file" in volt("cas", "ls", "-l", "mine/tree")[1]
    assert "sub/file" in volt("cas", "ls", "-R", "mine/tree")[1]
    volt("cas", "checkout", "mine/tree", tmp_path / "copy", "--copy")
    assert differences(source, tmp_path / "copy") == []
    _, _, warned = volt("cas", "checkout", "mine/tree", tmp_path / "linked", "--link")
    assert "Warning" in warned
    assert "read-only" in warned
    assert (tmp_path / "linked/sub/file").stat().st_nlink == 2
    assert "mine/tree" in volt("cas", "status")[1]
    assert volt("cas", "verify")[1] == ""
    assert digest in volt("cas", "log", "mine/tree")[1]
    _, would, _ = volt("cas", "gc", "--dry-run", "--grace", "0")
    assert would == ""


def test_listings_are_one_json_document(volt, source):
    put = json.loads(volt("cas", "build", source, "--ref", "x", "--json")[1])
    assert (put["schema"], put["files"]) == ("volt.cas-put.v1", 2)
    entries = json.loads(volt("cas", "ls", "-R", "x", "--json")[1])["items"]
    odd = next(entry for entry in entries if "path_base64" in entry)
    assert (odd["path_base64"], odd["path"]) == ("/wo=", "\\xff\n")
    link = next(entry for entry in entries if entry["type"] == "l")
    assert (link["target"], link["mode"]) == ("sub/file", "0777")
    for words, schema in (
        (("status",), "cas-status"),
        (("verify",), "cas-verify"),
        (("gc", "--dry-run"), "cas-gc"),
        (("log", "x"), "cas-log"),
    ):
        assert json.loads(volt("cas", *words, "--json")[1])["schema"] == f"volt.{schema}.v1"


def test_options_of_build(volt, source):
    volt("cas", "build", source, "--ref", "x", "--exclude", "sub", "--mtime", "clamp", "--one-file-system")
    entries = json.loads(volt("cas", "ls", "-R", "x", "--json")[1])["items"]
    assert {entry["path"] for entry in entries} == {"link", "\\xff\n"}
    assert [entry["mtime"]["seconds"] for entry in entries if entry["type"] == "f"] == [0]


def test_the_settings_hold_where_no_option_is_given(volt, source):
    volt("config", "set", "mtime", "clamp")
    volt("cas", "build", source, "--ref", "x")
    entries = json.loads(volt("cas", "ls", "-R", "x", "--json")[1])["items"]
    assert {entry["mtime"]["seconds"] for entry in entries if entry["type"] == "f"} == {0}
    volt("cas", "build", source, "--ref", "y", "--mtime", "keep")
    entries = json.loads(volt("cas", "ls", "-R", "y", "--json")[1])["items"]
    assert 0 not in {entry["mtime"]["seconds"] for entry in entries if entry["type"] == "f"}
    (source / "sub/file").write_text("no ref reaches this")
    volt("cas", "build", source)
    assert "Would remove 0 objects" in volt("cas", "gc", "--dry-run")[2]
    volt("config", "set", "gc_grace", "0")
    assert "Would remove 1 objects" in volt("cas", "gc", "--dry-run")[2]
    assert "Would remove 0 objects" in volt("cas", "gc", "--dry-run", "--grace", "60")[2]


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("ls", "nothing"), 3, "no ref 'nothing'"),
        (("ls", "sha256:" + "0" * 64), 6, "no tree sha256:00"),
        (("log", "nothing"), 3, "no ref"),
        (("checkout", "nothing", "x"), 3, "no ref"),
        (("build", "/no/such/directory"), 3, "no directory"),
        (("build", "/etc/hostname", "--ref", "../x"), 2, "Invalid ref"),
        (("build", "/etc", "--ref", "images/etc"), 2, "volt image import"),
        (("build", "/etc", "--ref", "images/Etc:1"), 2, "volt image import"),
        (("build", "/etc", "--ref", "use/etc"), 2, "what workloads use"),
        (("build", ""), 2, "an empty path names nothing. (See 'volt cas build --help'.)"),
        (("checkout", "x", ""), 2, "an empty path names nothing"),
        (("gc", "--grace", "-1"), 2, "-1"),
        (("checkout", "a", "b", "--copy", "--link"), 2, "contradict"),
    ],
)
def test_mistakes_are_told_with_their_status(volt, words, status, text):
    _, out, err = volt("cas", *words, ok=(status,))
    assert out == ""
    assert text in err
    assert "Traceback" not in err


def test_status_says_what_its_sums_count(volt, source):
    volt("cas", "build", source)
    out = volt("cas", "status")[1]
    assert "together, what gc would remove included" in out
    assert "what refs name, if nothing were shared" in out


def test_verify_of_a_damaged_store_ends_with_6(volt, source, tmp_path):
    volt("cas", "build", source, "--ref", "x")
    for path in (tmp_path / "root/lib/cas/objects").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damage!")
    _, out, err = volt("cas", "verify", ok=(6,))
    assert len(out.splitlines()) == 2
    assert "'sub/file' in x" in out
    assert "2 damaged" in err


def test_a_path_that_a_tree_lacks(volt, source):
    volt("cas", "build", source, "--ref", "x")
    assert "no 'sub/nothing'" in volt("cas", "ls", "x", "sub/nothing", ok=(3,))[2]
