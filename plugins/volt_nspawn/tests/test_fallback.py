"""Containers of an installation without programs, from the command line: what works, and what is refused by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from volt_core.testing import users

if TYPE_CHECKING:
    from conftest import Instance


pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

_HINT = b"(Install gcc and libc6-dev, then reinstall volt-core.)"


def start(volt: Instance, *words: str, options: tuple[str, ...] = ()) -> None:
    """Start the container 'box'."""
    assert volt("run", "-d", "--name", "box", *options, "busybox", *words) == "box"


def ran(volt: Instance, script: str, *options: str) -> list[str]:
    """Run a script as 'box' to its end, and return what it wrote."""
    start(volt, "sh", "-c", script, options=options)
    volt("wait", "box")
    return volt("logs", "box").splitlines()


def start_loop(volt: Instance, prepare: str, *options: str) -> None:
    """Start a shell as 'box', and wait until it has prepared itself: the stub is up before."""
    start(volt, "sh", "-c", f"{prepare}; echo ready; while :; do sleep 0.1; done", options=options)
    deadline = time.monotonic() + 30
    while not volt("logs", "box"):
        assert time.monotonic() < deadline


def main_pid(volt: Instance) -> int:
    """Return the process of nspawn."""
    argv = ["systemctl", "show", "-p", "MainPID", "--value", volt.unit("box")]
    return int(subprocess.run(argv, capture_output=True, check=True).stdout)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -USR1 $$", 255)])
def test_a_run_has_its_code_and_a_log_in_one_stream(scripted: Instance, script: str, code: int) -> None:
    assert ran(scripted, f"echo out; echo err >&2; {script}") == ["out", "err"]
    state = scripted.state("box")
    assert state["outcome"]["code"] == code
    assert state["status"] == ("failed" if code else "stopped")
    assert state["outcome"]["started"] < state["outcome"]["finished"]
    scripted("start", "box")
    scripted("wait", "box")
    assert scripted("logs", "box").splitlines() == ["out", "err"] * 2


def test_a_stop_asks_and_then_kills(scripted: Instance) -> None:
    start_loop(scripted, "trap 'echo asked; exit 0' TERM")
    scripted("stop", "box")
    assert scripted("logs", "box").splitlines() == ["ready", "asked"]
    assert scripted.state("box")["status"] == "stopped"
    scripted("delete", "box")
    start_loop(scripted, "trap '' TERM HUP")
    scripted("stop", "-t", "0.5", "box")
    assert scripted.state("box")["outcome"]["signal"] == signal.SIGKILL


def test_a_stop_has_the_signal_of_the_image(scripted: Instance) -> None:
    start_loop(scripted, "trap 'exit 9' QUIT", "--stop-signal", "QUIT")
    scripted("stop", "box")
    assert scripted.state("box")["outcome"]["code"] == 9


def test_a_stop_is_told_from_an_end_of_its_own(scripted: Instance) -> None:
    start(scripted, "sleep", "1000")
    scripted("stop", "box")
    state = scripted.state("box")
    assert (state["status"], state["outcome"]["signal"]) == ("stopped", signal.SIGTERM)


def test_a_signal_goes_to_the_command(scripted: Instance) -> None:
    start_loop(scripted, "trap 'exit 9' USR1")
    assert Path(f"/proc/{scripted.state('box')['pid']}/comm").read_text() == "sh\n"
    scripted("kill", "--signal", "USR1", "box")
    assert scripted("wait", "box") == "9"


def test_freeze_and_thaw(scripted: Instance) -> None:
    start(scripted, "sleep", "1000")
    scripted("freeze", "box")
    assert scripted.state("box")["status"] == "frozen"
    scripted("thaw", "box")
    assert scripted.state("box")["status"] == "running"


def test_options(scripted: Instance, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("shared\n")
    script = "pwd; cat /home/file; readlink /proc/self/ns/net; touch /etc/x 2>/dev/null || echo no; hostname"
    said = ran(
        scripted, script, "-w", "/tmp", "-v", f"{tmp_path}:/home:ro", "--read-only", "--network", "host",
        "--hostname", "inner", "--memory", "50M",
    )  # fmt: skip
    assert said == ["/tmp", "shared", os.readlink("/proc/self/ns/net"), "no", "inner"]
    assert "MemoryMax=52428800" in Path("/etc/systemd/system", scripted.unit("box")).read_text()


def test_the_confinement_is_that_of_a_container(scripted: Instance) -> None:
    said = ran(scripted, "grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; ls /sys/class/net")
    fields = dict(line.split(":\t") for line in said[:-1])
    sys_admin, sys_boot = 1 << 21, 1 << 22
    assert int(fields["CapBnd"], 16) & (sys_admin | sys_boot) == sys_boot
    assert (fields["NoNewPrivs"], fields["Seccomp"], said[-1]) == ("1", "2", "lo")


def test_variables_stand_in_no_unit_and_no_command_line(scripted: Instance) -> None:
    start(
        scripted, "sh", "-c", "echo \"$SECRET\"; env; sleep 1000",
        options=("-e", "SECRET=s3cret '%n' $HOME", "-e", "LD_PRELOAD=/nosuch.so"),
    )  # fmt: skip
    lines = scripted("logs", "box").splitlines()
    assert lines[0] == "s3cret '%n' $HOME"
    assert not any(line.startswith("LD_PRELOAD") for line in lines)
    assert "does not get LD_PRELOAD" in scripted.state("box")["note"]
    shown = f"systemctl show {scripted.unit('box')}; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    said = subprocess.run(users.as_user_argv("sh", "-c", shown), capture_output=True, text=True, check=False).stdout
    assert "--setenv=SECRET" in said
    assert "s3cret" not in said
    assert "s3cret" not in Path("/etc/systemd/system", scripted.unit("box")).read_text()


def test_restart_goes_on_until_it_is_stopped(scripted: Instance) -> None:
    start(scripted, "sh", "-c", "echo again; kill -KILL $$", options=("--restart", "on-failure:2"))
    scripted("wait", "box")
    assert scripted("logs", "box").splitlines() == ["again"] * 3


def test_what_boots_is_up_when_its_start_returns(scripted: Instance) -> None:
    scripted("run", "-d", "--name", "box", "--boot", "-e", "A=b", "debian")
    argv = ["systemctl", "--machine", scripted.machine("box"), "is-system-running"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"running\n"
    assert b"A=b" in Path(f"/proc/{scripted.state('box')['pid']}/environ").read_bytes()
    scripted("stop", "box")
    assert scripted.state("box")["outcome"]["code"] == 0


@pytest.mark.parametrize(
    ("words", "act"),
    [
        (("run", "--name", "fore", "busybox", "true"), b"run 'fore' in the foreground"),
        (("run", "-d", "-t", "--name", "tty", "busybox", "true"), b"give 'tty' a terminal"),
        (("run", "-d", "-u", "www", "--name", "user", "busybox", "true"), b"run 'user' as another user than root"),
        (("exec", "box", "true"), b"exec in 'box'"),
        (("shell", "box"), b"exec in 'box'"),
    ],
)
def test_what_would_be_wrong_is_refused(scripted: Instance, words: tuple[str, ...], act: bytes) -> None:
    start(scripted, "sleep", "1000")
    done = scripted.process(*words)
    assert done.returncode == 125
    assert done.stderr == b"Error: Cannot " + act + b": this installation could build no programs. " + _HINT + b"\n"
    assert scripted.state("box")["status"] == "running"


def test_what_is_lost_is_said(scripted: Instance) -> None:
    start(scripted, "sleep", "1000")
    assert scripted.state("box")["note"] == "runs without Volt's own programs: 'volt doctor' says what is lost"
    checks = json.loads(scripted.process("doctor", "--json").stdout)["items"]
    lost = [check["what"] for check in checks if check["area"] == "nspawn" and check["verdict"] == "warning"]
    assert len(lost) == 3
    assert "volt exec" in lost[0]


def test_the_unit_is_all_that_systemctl_needs(scripted: Instance) -> None:
    assert scripted("create", "--name", "box", "busybox", "sleep", "1000") == "box"
    subprocess.run(["systemctl", "start", scripted.unit("box")], check=True)
    assert scripted.state("box")["status"] == "running"
    subprocess.run(["systemctl", "stop", scripted.unit("box")], check=True)
    assert scripted.state("box")["status"] == "stopped"


@pytest.mark.parametrize("end", ["delete", "systemctl", "nspawn"])
def test_nothing_is_left(scripted: Instance, end: str) -> None:
    scripted("create", "--name", "warm", "busybox", "true")
    before = scripted.census()
    start(scripted, "sh", "-c", "sleep 1000 & wait")
    if end == "systemctl":
        subprocess.run(["systemctl", "stop", scripted.unit("box")], check=True)
    elif end == "nspawn":
        os.kill(main_pid(scripted), signal.SIGKILL)
        scripted("wait", "box")
        assert scripted.state("box")["outcome"]["reason"] == "systemd-nspawn was killed"
    assert before.left(scripted.census()).keys() <= {"files", "units", "cgroups", "processes"}, "the host has no mount"
    scripted("delete", "--force", "box")
    assert before.left(scripted.census()) == {}
