"""End to end: what a user types, and what it does."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
from pathlib import Path

import pytest

from volt_core import run
from volt_core.testing.command import Command, wait_for

pytestmark = [pytest.mark.needs_bwrap, pytest.mark.needs_busybox, pytest.mark.needs_native]


def text(box: Command, *words: str) -> str:
    done = box.process(*words)
    assert done.returncode == 0, done
    return done.stdout.decode()


def status(box: Command, name: str) -> str:
    return str(json.loads(text(box, "inspect", name))["items"][0]["state"]["status"])


def test_the_plugin_is_there_and_usable(box: Command) -> None:
    assert "backend bwrap" in text(box, "plugin", "list")
    assert "runs containers in namespaces of their own" in box.process("doctor").stdout.decode()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 255"), 255),
        (("sh", "-c", "kill -KILL $$"), 137),
        (("no-such-command",), 127),
        (("/etc/motd",), 126),
    ],
)
def test_exit_codes_are_the_commands(box: Command, command: tuple[str, ...], code: int) -> None:
    assert box.process("run", "--rm", "box", *command).returncode == code


def test_streams_are_byte_exact(box: Command) -> None:
    data = os.urandom(300_000)
    done = box.process("run", "--rm", "-i", "box", "sh", "-c", "cat; printf 'no newline' >&2; exit 3", stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (3, data, b"no newline")


def test_what_a_container_sees(box: Command) -> None:
    look = "hostname; tail -n 1 /etc/hosts; echo $$ $PPID; echo $COLOR; pwd; id -u; id -g; ls /proc | grep -c '^[0-9]'"
    options = ("--rm", "--hostname", "inside", "-e", "COLOR=red", "-w", "/tmp", "--user", "www")
    lines = text(box, "run", *options, "box", "sh", "-c", look).splitlines()
    assert lines[:-1] == ["inside", "127.0.1.1\tinside", "2 1", "red", "/tmp", "33", "33"]
    assert int(lines[-1]) <= 5


def test_a_daemon_with_logs_exec_and_stop(box: Command) -> None:
    text(box, "run", "-d", "--name", "web", "box", "sh", "-c", "echo up; exec sleep 1000")
    assert status(box, "web") == "running"
    wait_for(lambda: text(box, "logs", "web") == "up\n")
    assert text(box, "exec", "web", "sh", "-c", "cat /proc/2/cmdline | tr '\\0' ' '") == "sleep 1000 "
    assert box.process("exec", "web", "sh", "-c", "exit 9").returncode == 9
    assert box.process("exec", "web", "no-such-command").returncode == 127
    assert text(box, "exec", "-e", "COLOR=red", "-w", "/tmp", "web", "sh", "-c", "echo $COLOR; pwd") == "red\n/tmp\n"
    text(box, "exec", "web", "sh", "-c", "echo kept > /file")
    text(box, "stop", "web")
    assert status(box, "web") == "stopped"
    text(box, "start", "web")
    assert text(box, "exec", "web", "cat", "/file") == "kept\n"
    assert box.process("exec", "web", "sh", "-c", "kill -TERM $$").returncode == 143


def test_a_command_is_as_confined_as_the_payload(box: Command) -> None:
    look = ("grep", "-E", "CapPrm|CapEff|NoNewPrivs", "/proc/self/status")
    text(box, "run", "-d", "--name", "web", "box", "sleep", "1000")
    assert text(box, "exec", "web", *look) == text(box, "run", "--rm", "box", *look)
    done = box.process("exec", "web", "mount", "-t", "tmpfs", "tmpfs", "/tmp")
    assert done.returncode == 1
    assert b"are you root?" in done.stderr or b"denied" in done.stderr or b"not permitted" in done.stderr


def test_mounts(box: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    mounts = ("-v", f"{tmp_path}:/rw", "-v", f"{tmp_path}:/new/deep:ro", "-v", f"{tmp_path / 'file'}:/one:ro")
    script = "cat /new/deep/file /one; echo new > /rw/made; echo no > /new/deep/no || echo no > /one || exit 7"
    done = box.process("run", "--rm", *mounts, "box", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (7, b"oldold")
    assert done.stderr.count(b"Read-only file system") == 2
    assert sorted(os.listdir(tmp_path)) == ["file", "made"]
    done = box.process("run", "--rm", "-v", f"{tmp_path}/missing:/x", "box", "true")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"/missing' does not exist" in done.stderr


def test_an_image_leads_no_mount_out_of_the_container(box: Command, busybox_root: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    run.run(["cp", "-a", str(busybox_root), str(image)], timeout=60)
    outside = tmp_path / "outside"
    outside.mkdir()
    (image / "link").symlink_to(f"/oldroot{outside}")
    text(box, "image", "import", str(image), "hostile")
    mount = f"{tmp_path / 'image'}:/link/made"
    assert "bin" in text(box, "run", "--rm", "-v", mount, "hostile", "ls", "/link/made")
    assert os.listdir(outside) == []


def test_no_network(box: Command) -> None:
    assert text(box, "run", "--rm", "--network", "none", "box", "ls", "/sys/class/net").split() != []
    seen = text(box, "run", "--rm", "--network", "none", "box", "cat", "/proc/net/dev")
    assert [line.split(":")[0].strip() for line in seen.splitlines()[2:]] == ["lo"]


@pytest.mark.parametrize("options", [("-p", "80"), ("-m", "1G")])
def test_what_it_lacks_is_refused(box: Command, options: tuple[str, ...]) -> None:
    done = box.process("run", "--rm", *options, "box", "true")
    assert done.returncode == 125
    assert b"backend 'bwrap' has no" in done.stderr


def test_ctrl_c_reaches_the_payload(box: Command) -> None:
    script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done"
    with box.start("run", "--rm", "--name", "web", "box", "sh", "-c", script, stdout=run.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == b"caught\n"
    assert child.returncode == 5


def test_a_terminal(box: Command) -> None:
    master, slave = pty.openpty()
    script = "test -t 0 && : </dev/tty && echo ready; read word; echo typed $word; kill -INT $$"
    try:
        with box.start("run", "--rm", "-it", "box", "sh", "-c", script, stdin=slave, stdout=slave) as child:
            os.close(slave)
            read_until(master, b"ready")
            os.write(master, b"here\n")
            read_until(master, b"typed here")
        assert child.returncode == 130
    finally:
        os.close(master)


def read_until(terminal: int, wanted: bytes) -> None:
    shown = b""
    while wanted not in shown:
        assert select.select([terminal], [], [], 20)[0], shown
        shown += os.read(terminal, 4096)
