"""The commands without root, interrupted, and with names that are no text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from volt_core.contracts import Ref

_TRIES = 4
"""Of a signal that must come before the end, each with twice as much to do."""


@pytest.fixture
def volt(as_user, user_directory):
    """Run volt without root on an instance of its own; returns stdout and stderr."""

    def call(*words, ok=(0,)):
        done = as_user([sys.executable, "-m", "volt_core", "--root", "root", "cas", *words], ok=ok)
        return done.stdout.decode(), done.stderr.decode()

    return call


@pytest.fixture
def shell(as_user):
    return lambda text: as_user(["sh", "-ec", text]).stdout.decode()


@pytest.mark.needs_ordinary_user
def test_without_root_all_but_mounting_works(volt, shell):
    shell("mkdir -p src/closed src/sub && echo hello > src/sub/file && echo secret > src/closed/file")
    shell("echo read > src/once && chmod 400 src/once && ln -s sub/file src/link && chmod 700 src/closed")
    volt("build", "src", "--ref", "a", "--adopt")
    assert shell("stat -c %h src/sub/file src/once") == "2\n2\n"
    assert volt("cat", "a", "link")[0] == "hello\n"
    volt("checkout", "a", "linked", "--link")
    assert shell("stat -c %h src/sub/file") == "3\n"
    shell("cp -a src other && echo more >> other/sub/file")
    volt("build", "other", "--ref", "a")
    volt("tag", "a", "b")
    volt("undo", "a")
    assert "~ sub/file: content 6 -> 11 bytes" in volt("diff", "a", "b")[0]
    volt("df")
    assert "only root can mount" in volt("mount", "a", "linked", ok=(6,))[1]


@pytest.mark.needs_ordinary_user
def test_without_root_a_repair_says_which_checkouts_are_left(volt, shell):
    shell("mkdir -p src/closed && echo hello > src/file && echo secret > src/closed/file && cp -a src good")
    volt("build", "src", "--ref", "a")
    volt("checkout", "a", "linked", "--link")
    shell("printf X | dd of=linked/file conv=notrunc 2>/dev/null")
    out, said = volt("verify", "--repair", "--from", "good")
    assert "1 files of checkouts by --link still have the damaged one" in out
    assert "nothing damaged, 1 repaired" in said
    assert volt("cat", "a", "file")[0] == "hello\n"


@pytest.mark.needs_root
@pytest.mark.needs_ordinary_user
def test_a_file_of_root_is_copied_for_a_user(volt, shell, user_directory):
    (user_directory / "src").mkdir()
    (user_directory / "src/file").write_text("of root")
    said = volt("build", "src", "--adopt", "--ref", "a")[1]
    assert "Copied instead of adopted files of another owner: 1, the first at 'file'" in said
    assert (user_directory / "src/file").stat().st_nlink == 1


@pytest.fixture
def started(tmp_path):
    """Start volt in this user's name on an instance of its own; ends it in the end."""
    processes = []

    def start(*words):
        argv = [sys.executable, "-m", "volt_core", "--root", str(tmp_path / "root"), "cas", *map(str, words)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("words", [("build", "SOURCE", "--adopt"), ("build", "SOURCE"), ("checkout", "a", "OUT")])
def test_ctrl_c_leaves_the_store_and_the_place_as_they_were(started, shop, tmp_path, words):
    for number in range(_TRIES):
        source, out = tmp_path / f"source{number}", tmp_path / f"out{number}"
        source.mkdir()
        for name in range(3000 << number):
            (source / str(name)).write_text(f"{number} {name}")
        if words[0] == "checkout":
            shop.put_directory(source, ref=Ref(name="a", digest=""))
        before = [ref.digest for ref in shop.refs()]
        names = {"SOURCE": source, "OUT": out}
        process = started(*(names.get(word, word) for word in words))
        wait_for_a_file_in(out if words[0] == "checkout" else shop.path / "tmp", process)  # or for the end
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        if process.returncode != 0:
            break
    else:
        pytest.fail("It was done before the signal came, each time")
    assert (process.returncode, said) == (130, b"Interrupted.\n")
    assert list((shop.path / "tmp").iterdir()) == []
    assert not out.exists()
    assert [ref.digest for ref in shop.refs()] == before
    assert shop.verify().damaged == ()


def wait_for_a_file_in(folder, process):
    end = time.monotonic() + 30
    while not (folder.is_dir() and any(folder.iterdir())) and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_names_that_are_no_text_can_be_given(call, shop, tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    name = os.fsdecode(b"\xff\n")
    (top / name).write_text("odd")
    digest = shop.put_directory(top).digest
    assert call("cat", digest, name)[0] == "odd"
    assert json.loads(call("show", digest, name)[0])["entry"]["path_base64"] == "/wo="
    (top / name).write_text("other")
    assert "~ \\xff\\n: content 3 -> 5 bytes" in call("diff", digest, shop.put_directory(top).digest)[0]
