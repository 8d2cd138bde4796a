"""Kill -9 at every step: what is left never stands in the way of the next command, and nothing is lost."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile

import pytest

from volt_core import run
from volt_core.testing.command import wait_for
from volt_core.testing.killed import every_step

pytestmark = pytest.mark.needs_proot


def traces(volt, name):
    """Return what exists of a workload anywhere below the root, but for the log of refs and what gc clears."""
    found = []
    for top, directories, files in os.walk(volt.root):
        directories[:] = [it for it in directories if it not in ("objects", "trees", "variants", "links", "logs")]
        found += [os.path.join(top, it) for it in (*directories, *files) if name in it and not it.endswith(".tmp")]
    return found


@pytest.fixture
def tiny(own_box, tmp_path):
    """An image with few files, since each is a step."""
    (tmp_path / "tiny/bin").mkdir(parents=True)
    shutil.copy(run.need_program("busybox"), tmp_path / "tiny/bin/busybox")
    (tmp_path / "tiny/bin/true").symlink_to("busybox")
    own_box.ok("image", "import", str(tmp_path / "tiny"))
    return own_box


def test_create_at_every_step(tiny):
    tiny.ok("create", "--name", "other", "box", "true")
    words = ["create", "--name", "web", "tiny", "true"]
    seen = set()

    def after(through):
        shown = tiny("ps", "--all", "--quiet")
        assert shown.status == 0
        assert shown.err == ""
        present = "web" in shown.out.split()
        seen.add(present)
        assert present or not through
        if not present:
            tiny.ok(*words)
        assert tiny("run", "--rm", "tiny", "true") == (0, "", "")
        tiny.ok("delete", "web")
        assert traces(tiny, "web") == []
        assert tiny.ok("ps", "--all", "--quiet") == "other\n"

    assert every_step(words, after) > 20
    tiny.ok("cas", "gc", "--grace", "0")
    assert [path for path in tiny.root.rglob("*.tmp")] == []
    assert seen == {True, False}


def test_delete_at_every_step(tiny):
    seen = set()

    def after(through):
        shown = tiny("ps", "--all", "--quiet")
        assert (shown.status, shown.err) == (0, "")
        present = "web" in shown.out.split()
        seen.add(present)
        assert not (present and through)
        if present:
            assert tiny.ok("start", "web") == "web\n"
            tiny.ok("wait", "web")
            tiny.ok("delete", "web")
        tiny.ok("create", "--name", "web", "tiny", "true")

    after(False)
    assert every_step(["delete", "web"], after) > 10
    assert seen == {True, False}


def archive(text):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(3):
            info = tarfile.TarInfo(f"etc/file{number}")
            info.size = len(text) + 1
            tar.addfile(info, io.BytesIO(f"{text}{number}".encode()))
    return out.getvalue()


def test_import_at_every_step(own_box, tmp_path):
    (tmp_path / "old.tar").write_bytes(archive("old"))
    (tmp_path / "new.tar").write_bytes(archive("new"))
    own_box.ok("image", "import", str(tmp_path / "old.tar"), "app")
    digest = {it["name"]: it["digest"] for it in json.loads(own_box.ok("image", "list", "--json"))["items"]}[
        "app:latest"
    ]
    seen = set()

    def after(through):
        now = json.loads(own_box.ok("image", "inspect", "app"))["digest"]
        seen.add(now)
        assert (now != digest) or not through
        assert own_box("cas", "verify").status == 0
        own_box.ok("image", "import", str(tmp_path / "old.tar"), "app")
        own_box.ok("cas", "gc", "--grace", "0")

    assert every_step(["image", "import", str(tmp_path / "new.tar"), "app"], after) > 5
    assert len(seen) == 2
    assert digest in seen


def test_pull_killed_in_the_middle(own_box, tmp_path, monkeypatch):
    script = tmp_path / "bin/mmdebstrap"
    script.parent.mkdir()
    (tmp_path / "tar").write_bytes(archive("pulled"))
    script.write_text(
        f"#!/bin/sh\nhead -c 1500 {tmp_path}/tar\necho $$ > {tmp_path}/pid\nmv {tmp_path}/pid {tmp_path}/half\n"
        "while :; do sleep 0.1; done\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    process = own_box.start("image", "pull", "debian:bookworm", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((tmp_path / "half").exists)
    process.kill()
    process.wait()
    tool = int((tmp_path / "half").read_text())
    wait_for(lambda: not os.path.exists(f"/proc/{tool}"))
    assert own_box.ok("image", "list", "--quiet") == "box:latest\n"
    assert own_box("cas", "verify").status == 0
    script.write_text(f"#!/bin/sh\ncat {tmp_path}/tar\n")
    assert own_box.ok("image", "pull", "-q", "debian:bookworm") == "debian:bookworm\n"


def test_two_creates_of_one_name_at_once(own_box):
    words = ("create", "--name", "web", "box", "true")
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    ends = [
        (process, *process.communicate(timeout=60)) for process in [own_box.start(*words, **options) for _ in range(4)]
    ]
    assert sorted(process.returncode for process, _, _ in ends) == [0, 4, 4, 4]
    for process, out, err in ends:
        if process.returncode:
            assert out == b""
            assert err.startswith(b"Error: Cannot create container 'web': a container of that name exists. (")
    own_box.ok("delete", "web")
    assert traces(own_box, "web") == []


def test_kill_9_of_the_supervisor(own_box):
    own_box.ok("run", "-d", "--name", "web", "box", "sleep", "1000")
    pid = json.loads(own_box.ok("inspect", "web"))["items"][0]["state"]["pid"]
    os.kill(supervisor_of(pid), signal.SIGKILL)
    wait_for(lambda: own_box.ok("ps", "--quiet") == "")
    said = own_box("ps", "--all")
    assert said.status == 0
    assert "failed" in said.out
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))
    own_box.ok("start", "web")
    assert own_box.ok("ps", "--quiet") == "web\n"
    own_box.ok("delete", "--force", "web")


def test_a_damaged_state_file_of_a_running_container(own_box):
    own_box.ok("run", "-d", "--name", "web", "box", "sleep", "1000")
    own_box.ok("create", "--name", "sound", "box", "true")
    pid = json.loads(own_box.ok("inspect", "web"))["items"][0]["state"]["pid"]
    truth = own_box.root / "lib/containers/web/container.json"
    truth.write_bytes(truth.read_bytes()[:50])
    said = own_box("ps", "--all", "--quiet")
    assert (said.status, said.out) == (0, "sound\n")
    assert said.err.startswith(f"Warning: State file '{truth}' is damaged: ")
    said = own_box("delete", "web")
    assert said.status == 8
    assert "delete the workload with --force" in said.err
    own_box.ok("delete", "--force", "web")
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))
    assert traces(own_box, "web") == []


def supervisor_of(pid):
    """Return the ancestor of a payload that looks after it."""
    while True:
        with open(f"/proc/{pid}/stat") as file:
            parent = int(file.read().rpartition(")")[2].split()[1])
        with open(f"/proc/{parent}/cmdline", "rb") as file:
            if b"volt_core.supervisor" in file.read():
                return parent
        assert parent > 1
        pid = parent
