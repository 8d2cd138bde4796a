"""The gate to other programs: ends, limits, environment, errors."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from volt_core import run
from volt_core.errors import BackendUnavailable, CommandFailed, TimedOut

LIMIT = 8 * 1024 * 1024


def open_descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def is_running(pid: int) -> bool:
    """Zombies do not count: whoever is their parent now has not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < deadline, f"{pid} lives on"
        time.sleep(0.01)


def test_output_and_status_come_back_apart() -> None:
    done = run.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=5, ok=(0, 3))
    assert (done.status, done.stdout, done.stderr) == (3, b"out\n", b"err\n")


def test_input_goes_in_whole_and_output_comes_back_whole() -> None:
    data = os.urandom(3_000_000)
    assert run.run(["cat"], timeout=10, stdin=data).stdout == data


def test_stdin_is_closed_unless_asked_for() -> None:
    assert run.run(["cat"], timeout=5).stdout == b""


def test_a_program_that_does_not_read_its_input_is_no_error() -> None:
    assert run.run(["true"], timeout=5, stdin=bytes(1_000_000)).status == 0


def test_a_bad_status_becomes_an_error_that_can_be_pasted() -> None:
    with pytest.raises(CommandFailed) as caught:
        run.run(["sh", "-c", "for i in $(seq 20); do echo line $i >&2; done; exit 7"], timeout=5)
    error = caught.value
    assert error.status == 7
    assert "'sh' ended with status 7" in str(error)
    assert "line 20" in error.stderr
    assert "line 8\n" not in error.stderr
    assert error.stderr.endswith("The command was: sh -c 'for i in $(seq 20); do echo line $i >&2; done; exit 7'")


def test_a_signal_is_called_by_its_name() -> None:
    with pytest.raises(CommandFailed, match="was killed by SIGUSR1") as caught:
        run.run(["sh", "-c", "kill -USR1 $$"], timeout=5)
    assert caught.value.status == -signal.SIGUSR1


def test_a_missing_program_names_the_package_to_install() -> None:
    with pytest.raises(BackendUnavailable) as caught:
        run.need_program("no-such-program")
    assert "no-such-program" in caught.value.brief
    assert "package no-such-program" in str(caught.value.hint)
    assert run.package_of("systemd-nspawn") == "systemd-container"


def test_programs_in_sbin_are_found_whatever_path_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run.find_program("sh") is not None
    own = tmp_path / "sh"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert run.find_program("sh") == str(own)


def test_only_listed_variables_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("VOLT_ROOT", "/x")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    lines = run.run(["env"], timeout=5, env={"EXTRA": "2"}).stdout.decode().splitlines()
    seen = dict(line.partition("=")[::2] for line in lines)
    assert seen["LC_ALL"] == "C.UTF-8"
    assert seen["EXTRA"] == "2"
    assert seen["https_proxy"] == "http://proxy:1"
    assert not {"SECRET", "VOLT_ROOT"} & seen.keys()


@pytest.mark.parametrize("script", ["sleep 100", "trap '' TERM; sleep 100 & wait"], ids=["soft", "stubborn"])
def test_a_timeout_ends_the_whole_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(run, "_GRACE", 0.2)
    pids = tmp_path / "pids"
    begin = time.monotonic()
    with pytest.raises(TimedOut, match=r"did not end within 0\.5 s"):
        run.run(["sh", "-c", f"sh -c 'echo $$ >>{pids}; {script}' & echo $$ >>{pids}; {script}"], timeout=0.5)
    assert time.monotonic() - begin < 3
    for pid in map(int, pids.read_text().split()):
        wait_until_gone(pid)


def test_a_timeout_ends_what_a_child_that_is_gone_left_in_its_session(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(TimedOut):
        run.run(["sh", "-c", f"sleep 100 & echo $! >{pid_file}"], timeout=0.5)
    wait_until_gone(int(pid_file.read_text()))


def test_a_stubborn_child_of_a_polite_one_does_not_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_GRACE", 2.0)
    pid_file = tmp_path / "pid"
    script = f"sh -c 'trap \"\" TERM; echo $$ >{pid_file}; while :; do sleep 0.1; done' & wait"
    with run.start(["sh", "-c", script]):
        while not (pid_file.exists() and pid_file.read_text()):
            time.sleep(0.01)
    wait_until_gone(int(pid_file.read_text()))


def test_leaving_the_block_ends_and_reaps_the_child() -> None:
    with run.start(["sleep", "100"]) as process:
        assert process.poll() is None
    assert process.returncode == -signal.SIGTERM


def test_capture_is_bounded_in_size_and_in_memory() -> None:
    script = f"import os\nfor _ in range(600): os.write(1, bytes({1 << 20}))\nos.write(2, b'end')"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = run.run([sys.executable, "-c", script], timeout=30)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert len(done.stdout) == LIMIT
    assert done.stderr == b"end"
    assert grown < 100 << 20


def test_no_descriptor_is_left_open_or_handed_down(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), False)
        before = open_descriptors()
        for _ in range(3):
            listed = run.run(["ls", "/proc/self/fd"], timeout=5).stdout.split()
            with pytest.raises(CommandFailed):
                run.run(["false"], timeout=5, stdin=b"x")
            with pytest.raises(TimedOut):
                run.run(["sleep", "5"], timeout=0.05)
            with pytest.raises(BackendUnavailable):
                run.run(["no-such-program"], timeout=5)
        assert open_descriptors() == before
    assert sorted(map(int, listed)) == [0, 1, 2, 3]  # 3 is the directory that ls reads


def test_spawn_gives_exactly_the_environment_asked_for() -> None:
    reader, writer = os.pipe()
    process = run.spawn(["env"], env={"ONLY": "this"}, stdin=run.DEVNULL, stdout=writer, stderr=run.DEVNULL)
    os.close(writer)
    with os.fdopen(reader, "rb") as out:
        assert out.read() == b"ONLY=this\n"
    assert process.wait(5) == 0
