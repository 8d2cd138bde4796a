"""Containers on a pseudo terminal; the caller's own is the pty that the test holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from volt_core import processes
from volt_core.contracts import Streams
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Status, Workload
from volt_core.testing.workbench import Workbench, background

pytestmark = [pytest.mark.needs_proot, pytest.mark.needs_busybox]


class Terminal:
    """The caller's terminal, and the person in front of it."""

    def __init__(self, rows: int = 30, columns: int = 100) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.resize(rows, columns)
        events_read, self._events = os.pipe()
        self.streams = Streams(
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            tty=True,
            size=(rows, columns),
            events=events_read,
        )
        self.screen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def event(self, number: int) -> None:
        os.write(self._events, bytes([number]))

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def wait_for(self, pattern: bytes, timeout: float = 20) -> re.Match[bytes]:
        """Read the screen until `pattern` stands on what is new of it."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.screen)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} not within {timeout} s in {self.screen!r}"
            if select.select([self.master], [], [], left)[0]:
                self.screen += os.read(self.master, 65536)
        self.screen = self.screen[found.end() :]
        return found

    def close(self) -> None:
        for fd in (self.master, self.slave, self._events, self.streams.events):
            if fd is not None:
                os.close(fd)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with contextlib.closing(Terminal()) as terminal:
        yield terminal


def attach(bench: Workbench, workload: Workload, terminal: Terminal) -> Outcome:
    run = bench.backend.run_attached  # type: ignore[attr-defined]
    return run(workload, terminal.streams, lambda: None)  # type: ignore[no-any-return]


def test_its_size_is_the_callers_and_follows_it(bench: Workbench, terminal: Terminal) -> None:
    script = "trap 'stty size' WINCH; tty; stty size; while :; do sleep 0.05; done"
    workload = bench.create(("sh", "-c", script))
    with background(lambda: attach(bench, workload, terminal)):
        terminal.wait_for(rb"/dev/pts/\d+\r\n30 100\r\n")
        terminal.resize(40, 120)
        terminal.event(signal.SIGWINCH)
        terminal.wait_for(rb"40 120\r\n")
        bench.backend.stop(workload, 0)
    assert any(b"40 120" in line for line in bench.lines(workload))


def test_a_shell_has_job_control_and_ctrl_c(bench: Workbench, terminal: Terminal) -> None:
    workload = bench.create(("sh", "-i"), env={"PS1": "READY> "})
    prompt = b"READY> "
    with background(lambda: attach(bench, workload, terminal)) as running:
        terminal.wait_for(prompt)
        terminal.type(b"sleep 1000\n")
        bench.wait_for("the sleeper", lambda: _sleepers(workload, b"1000"))
        terminal.type(b"\x03")
        terminal.wait_for(prompt)
        terminal.type(b"echo code=$?.\n")
        terminal.wait_for(rb"code=130\.")
        terminal.wait_for(prompt)
        terminal.type(b"sleep 2000\n")
        bench.wait_for("the sleeper", lambda: _sleepers(workload, b"2000"))
        terminal.type(b"\x1a")
        terminal.wait_for(b"Stopped")
        terminal.wait_for(prompt)
        terminal.type(b"kill -KILL %1\n")
        bench.wait_for("the sleeper's end", lambda: not _sleepers(workload, b"2000"))
        terminal.type(b"true\n")
        terminal.wait_for(b"Killed")
        terminal.wait_for(prompt)
        terminal.type(b"exit 7\n")
        assert running.result(bench.patience).code == 7


def test_all_that_is_shown_arrives_before_the_end(bench: Workbench, terminal: Terminal) -> None:
    workload = bench.create(("sh", "-c", "stty -opost; i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done"))
    with background(lambda: attach(bench, workload, terminal)) as running:
        expected = b"".join(b"line %d\n" % number for number in range(5000))
        while len(terminal.screen) < len(expected):
            assert select.select([terminal.master], [], [], 20)[0]
            terminal.screen += os.read(terminal.master, 65536)
        assert running.result(bench.patience).code == 0
    assert terminal.screen == expected


def test_exec_has_a_terminal_of_its_own(bench: Workbench, terminal: Terminal) -> None:
    workload = bench.start(("sleep", "1000"))
    run = bench.backend.exec  # type: ignore[attr-defined]
    with background(lambda: run(workload, ("sh", "-c", "stty size; read x; echo got $x"), terminal.streams)) as running:
        terminal.wait_for(b"30 100\r\n")
        terminal.type(b"hello\n")
        terminal.wait_for(b"got hello\r\n")
        assert running.result(bench.patience).code == 0


def test_the_end_of_piped_input_is_the_end_of_file_for_the_terminal(bench: Workbench) -> None:
    read, write = os.pipe()
    out_read, out_write = os.pipe()
    os.write(write, b"hello\n")
    os.close(write)
    workload = bench.create(("cat",))
    run = bench.backend.run_attached  # type: ignore[attr-defined]
    outcome = run(workload, Streams(stdin=read, stdout=out_write, stderr=out_write, tty=True), lambda: None)
    os.close(out_write)
    with os.fdopen(out_read, "rb") as output:
        assert output.read().endswith(b"hello\r\n")
    os.close(read)
    assert outcome.code == 0


def test_a_detached_container_with_a_terminal_runs_and_logs(bench: Workbench) -> None:
    workload = bench.start(("sh", "-c", "test -t 0 && test -t 1 && tty && sleep 1000"), tty=True)
    bench.wait_for("its line", lambda: bench.lines(workload))
    assert re.match(rb"/dev/pts/\d+\r", bench.lines(workload)[0])
    assert bench.backend.status(workload).status is Status.RUNNING


def test_a_caller_whose_terminal_takes_nothing_any_more_hangs_up(bench: Workbench) -> None:
    stdin_read, stdin_write = os.pipe()
    read, write = os.pipe()
    os.close(read)
    workload = bench.create(("sh", "-c", "while :; do echo y; sleep 0.01; done"))
    run = bench.backend.run_attached  # type: ignore[attr-defined]
    outcome = run(workload, Streams(stdin=stdin_read, stdout=write, stderr=write, tty=True), lambda: None)
    for fd in (stdin_read, stdin_write, write):
        os.close(fd)
    assert outcome.signal == signal.SIGHUP


CLIENT = """
import sys
from pathlib import Path
import msgspec
from volt_core.contracts import BackendContext, Streams
from volt_core.models.workload import Workload
from volt_core.paths import VoltPaths
from volt_core.testing.fakes import MemoryStore
from volt_proot.backend import ProotBackend
paths = VoltPaths.below(Path(sys.argv[1]))
backend = ProotBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))
workload = msgspec.json.decode(sys.argv[3].encode(), type=Workload)
streams = Streams(stdin=0, stdout=1, stderr=2, tty=True)
if sys.argv[2] == "run":
    backend.run_attached(workload, streams, lambda: None)
else:
    backend.exec(workload, ("sh", "-c", "echo up; exec sleep 2000"), streams)
"""


@pytest.mark.parametrize("act", ["run", "exec"])
def test_a_killed_caller_hangs_up_an_exec_but_not_a_container(bench: Workbench, terminal: Terminal, act: str) -> None:
    workload = bench.create(("sh", "-c", "echo up; exec sleep 1000"))
    if act == "exec":
        bench.backend.start(workload)
    root = bench.backend.paths.etc.parent
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(root), act, msgspec.json.encode(workload).decode()],
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
    )
    terminal.wait_for(b"up")
    client.kill()
    client.wait()
    if act == "exec":
        bench.wait_for("the exec's end", lambda: not _sleepers(workload, b"2000"))
    else:
        time.sleep(0.3)
    assert bench.backend.status(workload).status is Status.RUNNING
    assert _sleepers(workload, b"1000")


def _sleepers(workload: Workload, seconds: bytes) -> list[int]:
    found = []
    for stat in processes.leftovers(workload.id):
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/{stat.pid}/cmdline").read_bytes().startswith(b"sleep\0" + seconds):
                found.append(stat.pid)
    return found
