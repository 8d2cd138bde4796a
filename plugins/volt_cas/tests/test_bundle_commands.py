"""``volt bundle`` end to end: files and pipes, wrong input, Ctrl-C, no room, and kill at every step."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess

import pytest

from volt_cas.bundle import commands as bundle_commands
from volt_cas.store import CasStore
from volt_core.contracts import Ref
from volt_core.images import records
from volt_core.models.image import Image
from volt_core.testing import host
from volt_core.testing.command import Command, wait_for
from volt_core.testing.killed import every_step
from volt_core.testing.trees import differences


@pytest.fixture
def volt(tmp_path, monkeypatch, capfd):
    """``volt`` on an instance that holds the tree ``source`` as ``one``, and a changed one as ``two``."""
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    volt = Command(tmp_path / "root", capfd)
    (tmp_path / "source/sub").mkdir(parents=True)
    (tmp_path / "source/sub/file").write_text("content")
    (tmp_path / "source/gone").write_text("gone")
    volt.ok("cas", "build", "source", "--ref", "one")
    (tmp_path / "source/gone").unlink()
    (tmp_path / "source/sub/file").write_text("new content")
    os.mkfifo(tmp_path / "source/sub/\udcff\n")
    volt.ok("cas", "build", "source", "--ref", "two")
    return volt


@pytest.fixture
def elsewhere(volt, monkeypatch, tmp_path):
    """Change to another, empty instance."""
    return lambda name="other": monkeypatch.setenv("VOLT_ROOT", str(tmp_path / name))


def test_a_bundle_travels_as_a_file(volt, elsewhere, tmp_path):
    said = volt("bundle", "create", "two.vbundle", "--ref", "two")
    assert (said.status, said.out) == (0, "")
    assert "1 refs, 3 records, 1 contents" in said.err
    volt.ok("bundle", "create", "-o", "again.vbundle", "--ref", "two", "--ref", "two")
    assert (tmp_path / "again.vbundle").read_bytes() == (tmp_path / "two.vbundle").read_bytes()
    elsewhere()
    assert "two" in volt.ok("bundle", "inspect", "two.vbundle")
    assert "nothing is wrong" in volt("bundle", "verify", "two.vbundle").err
    assert not (tmp_path / "other/lib/cas").exists()
    assert volt.ok("bundle", "import", "two.vbundle").startswith("two  sha256:")
    volt.ok("cas", "checkout", "two", "out")
    assert differences(tmp_path / "source", tmp_path / "out") == []


def test_a_bundle_travels_through_pipes(volt, tmp_path):
    def call(*words, stdin=b"", root="root"):
        done = volt.process("--root", str(tmp_path / root), "bundle", *words, stdin=stdin)
        assert done.returncode == 0, done
        return done.stdout

    first = call("create", "-", "--ref", "one")
    second = call("create", "-", "--ref", "two", "--base", "one")
    assert second == call("create", "-o", "-", "--ref", "two", "--base", "-", stdin=first)
    assert json.loads(call("inspect", "-", "--json", stdin=second))["bases"][0]["name"] == "one"
    call("verify", "-", stdin=second, root="other")
    call("import", "-", stdin=first, root="other")
    assert json.loads(call("import", "-", "--json", stdin=second, root="other"))["new_objects"] == 1
    (tmp_path / "one.vbundle").write_bytes(first)
    assert b"~ two  sub/file" in call("diff", "one.vbundle", "-", stdin=second, root="other")
    assert CasStore(tmp_path / "other/lib/cas").verify().damaged == ()


def test_answers_are_one_json_document(volt):
    created = json.loads(volt.ok("bundle", "create", "a", "--ref", "one", "--ref", "two", "--json"))
    assert (created["schema"], created["records"], created["objects"]) == ("volt.bundle-created.v1", 6, 3)
    assert created["bytes"] == os.stat("a").st_size
    shown = json.loads(volt.ok("bundle", "inspect", "a", "--json"))
    assert [ref["name"] for ref in shown["refs"]] == ["one", "two"]
    assert len(shown["contents"]["objects"]) == 3
    verified = json.loads(volt.ok("bundle", "verify", "a", "--json"))
    assert (verified["schema"], verified["notes"]) == ("volt.bundle-verified.v1", [])
    imported = json.loads(volt.ok("bundle", "import", "a", "--json"))
    assert (imported["schema"], imported["new_objects"], imported["moved"]) == ("volt.bundle-imported.v1", 0, [])


def test_a_difference_names_paths(volt):
    volt.ok("bundle", "create", "one", "--ref", "one")
    volt.ok("bundle", "create", "two", "--ref", "two")
    volt.ok("bundle", "create", "both", "--ref", "one", "--ref", "two")
    said = volt("bundle", "diff", "one", "two")
    assert said.out.splitlines() == [
        *("~ two  .", "- two  gone", "~ two  sub", "~ two  sub/file", "+ two  sub/\\xff\\n"),
    ]
    assert "1 added, 1 removed, 3 changed" in said.err
    items = json.loads(volt.ok("bundle", "diff", "one", "two", "--json"))["items"]
    assert items[3] == {
        "ref": "two",
        "change": "changed",
        "path": "sub/file",
        "fields": ["mtime_ns", "size", "digest"],
    }
    assert volt.ok("bundle", "diff", "one", "one") == ""
    assert volt.ok("bundle", "diff", "one", "both") == "+ two\n"
    assert volt.ok("bundle", "diff", "both", "one") == "- two\n"


def test_compression_is_asked_for(volt, tmp_path):
    (tmp_path / "source/text").write_text("text " * 10_000)
    volt.ok("cas", "build", "source", "--ref", "text")
    sizes = []
    for how in ("none", "auto", "max"):
        volt.ok("bundle", "create", how, "--ref", "text", "--compress", how)
        volt.ok("bundle", "verify", how)
        sizes.append(os.stat(how).st_size)
    assert sizes[0] > sizes[1] + 40_000
    assert sizes[1] >= sizes[2]


def test_images_are_named_as_images_and_stay_such(volt, elsewhere):
    volt.ok("image", "import", "source", "box:1")
    volt.ok("bundle", "create", "box.vbundle", "--ref", "box:1")
    elsewhere()
    assert volt.ok("bundle", "import", "box.vbundle").startswith("images/box:1  ")
    assert volt.ok("image", "list", "--quiet") == "box:1\n"
    assert "PATH=" in volt.ok("image", "inspect", "box:1")


@pytest.mark.parametrize(
    ("name", "meta"),
    [("images/Box:1", {}), ("images/box", {}), ("images/box:1", {"size": "x"}), ("images/box:1", {"config": "{"})],
)
def test_a_ref_that_would_be_a_broken_image_is_refused(volt, elsewhere, tmp_path, name, meta):
    store = CasStore(tmp_path / "root/lib/cas")
    store.set_ref(Ref(name=name, digest=store.find_ref("one").digest, meta=meta))
    volt.ok("bundle", "create", "x", "--ref", name)
    elsewhere()
    said = volt("bundle", "import", "x")
    assert said.status == 6
    assert "is no image's" in said.err
    assert not (tmp_path / "other/lib/cas").exists()
    sound = records.to_ref(Image(name="box:1", digest=store.find_ref("one").digest, created=1, source=""))
    store.set_ref(sound)


def test_what_moves_is_told(volt):
    volt.ok("bundle", "create", "x", "--ref", "one")
    before = json.loads(volt.ok("cas", "log", "two", "--json"))["items"][0]["digest"]
    volt.ok("cas", "build", "source", "--ref", "one")
    said = volt("bundle", "import", "x")
    assert f"Note: one was {before}" in said.err


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("create", "x", "--ref", "nothing"), 3, "no ref 'nothing'"),
        (("create", "x"), 2, "needs a ref"),
        (("create", "--ref", "one"), 2, "one file"),
        (("create", "x", "-o", "y", "--ref", "one"), 2, "one file"),
        (("create", "source", "--ref", "one"), 4, "exists"),
        (("create", "no/such/x", "--ref", "one"), 3, "no directory"),
        (("create", "-", "--ref", "one", "--json"), 2, "both"),
        (("create", "x", "--ref", "use/x"), 3, "no ref"),
        (("create", "x", "--ref", "one", "--base", "nothing"), 3, "neither a ref nor a bundle 'nothing'"),
        (("create", "x", "--ref", "one", "--base", "source"), 3, "neither a ref nor a bundle"),
        (("create", "x", "--ref", "one", "--base", "text"), 6, "does not begin as a bundle"),
        (("create", "x", "--ref", "one", "--base", "sha256:" + "0" * 64), 6, "no tree sha256:000"),
        (("create", "x", "--ref", "one", "--compress", "zstd"), 2, "zstd"),
        (("inspect", "nothing"), 3, "Cannot read 'nothing'"),
        (("verify", "source"), 3, "Is a directory"),
        (("import", "text"), 6, "byte 0: it does not begin as a bundle does"),
        (("verify", "/dev/null"), 6, "ends too early"),
        (("diff", "-", "-"), 2, "stdin"),
        (("import", ""), 3, "Cannot read ''"),
    ],
)
def test_mistakes_are_told_with_their_status(volt, tmp_path, words, status, text):
    (tmp_path / "text").write_text("this is no bundle, but long enough to be looked at " * 3)
    before = sorted(tmp_path.iterdir())
    said = volt("bundle", *words)
    assert (said.status, said.out) == (status, "")
    assert text in said.err
    assert "Traceback" not in said.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_store_without_bundles_says_so(volt, monkeypatch):
    monkeypatch.setattr(bundle_commands, "Bundles", type("Others", (), {}))
    said = volt("bundle", "create", "x", "--ref", "one")
    assert said.status == 5
    assert "has no bundles" in said.err


def test_an_import_killed_at_every_step_can_be_done_again(volt, elsewhere, memory_path):
    volt.ok("bundle", "create", "one", "--ref", "one")
    volt.ok("bundle", "create", "two", "--ref", "two")
    elsewhere(memory_path / "other")
    volt.ok("bundle", "import", "one")
    shutil.copytree(memory_path / "other", memory_path / "fresh", symlinks=True)
    store = CasStore(memory_path / "other/lib/cas")
    seen = set()

    def after(through: bool) -> None:
        assert store.verify().damaged == ()
        found = store.find_ref("two")
        seen.add(found is not None)
        assert found is not None or not through
        assert store.find_ref("one") is not None
        if found is None:
            volt.ok("bundle", "import", "two")
            assert not list((store.path / "tmp").iterdir())
        shutil.rmtree(memory_path / "other")
        shutil.copytree(memory_path / "fresh", memory_path / "other", symlinks=True)

    assert every_step(["bundle", "import", "two"], after) > 10
    assert seen == {True, False}


def test_a_creation_killed_at_every_step_leaves_no_half_a_bundle(volt, tmp_path):
    volt.ok("bundle", "create", "whole", "--ref", "two")

    def after(through: bool) -> None:
        target = tmp_path / "x"
        assert target.exists() or not through
        if target.exists():
            assert target.read_bytes() == (tmp_path / "whole").read_bytes()
            target.unlink()

    assert every_step(["bundle", "create", "x", "--ref", "two"], after) > 3


def test_ctrl_c_leaves_nothing(volt, tmp_path):
    data = io.BytesIO()
    CasStore(tmp_path / "root/lib/cas").write_bundle(data, ["one"])
    root = tmp_path / "other"
    words = ["--root", str(root), "bundle", "import", "-"]
    with volt.start(*words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdin.write(data.getvalue()[:-300])
        child.stdin.flush()
        wait_for(lambda: list((root / "lib/cas/tmp").glob("run-*/*/*/*")))
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert err == b"Interrupted.\n"
    store = CasStore(root / "lib/cas")
    assert list(store.refs()) == []
    assert not list((root / "lib/cas/tmp").iterdir())
    assert store.usage().objects == 0


def test_a_reader_that_goes_away_is_no_error_message(volt, tmp_path):
    (tmp_path / "source/large").write_bytes(os.urandom(4 << 20))
    volt.ok("cas", "build", "source", "--ref", "large")
    argv = volt.argv("bundle", "create", "-", "--ref", "large")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.read(10)
        child.stdout.close()
        assert (child.wait(20), child.stderr.read()) == (141, b"")


@pytest.mark.needs_loop_mount
def test_no_room_for_a_bundle_leaves_no_file(volt, tmp_path):
    (tmp_path / "source/large").write_bytes(os.urandom(30 << 20))
    volt.ok("cas", "build", "source", "--ref", "large")
    with host.loop_mounted("ext4", 24) as disk:
        said = volt("bundle", "create", str(disk / "x"), "--ref", "large")
        assert said.status == 1
        assert "No space left" in said.err
        assert [path.name for path in disk.iterdir() if path.name != "lost+found"] == []
