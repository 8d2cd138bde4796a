"""init as PID 1 of a container has it: streams copied to a caller and to a journal, with descriptors handed over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from volt_core import native, processes

pytestmark = pytest.mark.needs_native
TIMEOUT = 20.0
FIRST = 3
ABOVE = 20
MUCH = 100_000
"""More than a pipe holds, less than two of them and what init keeps."""


class Reader:
    """What came out of a descriptor until now."""

    def __init__(self, descriptor: int) -> None:
        self.text = b""
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, pattern: bytes) -> None:
        """Wait until the text has the pattern."""
        self._wait(lambda: re.search(pattern, self.text) is not None)

    def wait_for_size(self, size: int) -> None:
        """Wait until so many bytes came."""
        self._wait(lambda: len(self.text) >= size)

    def all(self) -> bytes:
        """Return all of it; the writers have to be gone."""
        self._wait(lambda: self._ended)
        return self.text

    def _wait(self, condition) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, TIMEOUT), self.text[-50:]

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except OSError:
                data = b""
            with self._changed:
                self.text += data
                self._ended = not data
                self._changed.notify_all()
            if not data:
                return


class Handed:
    """A running ``init --handed``, with the test as its caller, its systemd and its journal.

    `out` and `err` are what the caller reads, the same socket with a terminal; `logs` what the journal reads.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        attached: bool = True,
        tty: bool = False,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        stdin: str | Path = os.devnull,
    ) -> None:
        self._near: list[int] = []
        self._far: list[int] = []
        report, far_report = self._keep(*os.pipe())
        self.logs, far_logs = zip(*(self._keep(*socket_pair()) for _ in range(2)), strict=True)
        null, environment = os.open(stdin, os.O_RDONLY), os.memfd_create("environment")
        self._far += [null, environment]
        os.write(environment, f"attached={attached:d} tty={tty:d} size=24x80\0PATH={os.environ['PATH']}\0".encode())
        handed_over = [far_report, environment]
        if attached:
            self.caller, far_caller = self._keep(*socket_pair(socket.SOCK_SEQPACKET))
            handed_over += [*far_logs, far_caller]
        if not attached:
            streams = [null, *far_logs]
        elif tty:
            self.out, far_out = self._keep(*socket_pair())
            self.err, streams = self.out, [far_out] * 3
        else:
            (self.out, far_out), (self.err, far_err) = self._keep(*os.pipe()), self._keep(*os.pipe())
            streams = [null, far_out, far_err]

        def take_places() -> None:
            high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE) for descriptor in handed_over]
            for place, descriptor in enumerate(high, FIRST):
                os.dup2(descriptor, place)

        self.process = subprocess.Popen(
            [*prefix, str(native.program("init")), "--handed", *options, "--", *argv],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            close_fds=False,
            preexec_fn=take_places,
            start_new_session=True,
        )
        for descriptor in self._far:
            os.close(descriptor)
        self.report = Reader(report)

    def _keep(self, near: int, far: int) -> tuple[int, int]:
        self._near.append(near)
        self._far.append(far)
        return near, far

    def wait_until_stuck(self, name: str) -> None:
        """Wait until the command is that program, and waits in turn."""
        self.report.wait_for(rb"pid \d+\n")
        status = Path("/proc", self.report.text.split()[1].decode(), "status")
        deadline = time.monotonic() + TIMEOUT
        while not re.search(rf"Name:\t{name}\n.*State:\tS", status.read_text(), re.DOTALL):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def say(self, text: str) -> None:
        """Tell init something as the caller."""
        os.write(self.caller, text.encode())

    def drop(self, *descriptors: int) -> None:
        """Close ends of the caller's."""
        for descriptor in descriptors:
            self._near.remove(descriptor)
            os.close(descriptor)

    def end(self) -> int:
        """Wait for the end and give the exit code."""
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)
        self.drop(*self._near)


def socket_pair(kind: socket.SocketKind = socket.SOCK_STREAM) -> tuple[int, int]:
    """Return two descriptors that lead to each other."""
    near, far = socket.socketpair(socket.AF_UNIX, kind)
    return near.detach(), far.detach()


@contextlib.contextmanager
def handed(argv: Sequence[str], **options) -> Iterator[Handed]:
    running = Handed(argv, **options)
    try:
        yield running
    finally:
        running.close()


MANNERS = pytest.mark.parametrize(
    "manner", [{}, {"attached": False}, {"tty": True}], ids=["attached", "detached", "tty"]
)


def write_and_exit(size: int, code: int = 3) -> list[str]:
    return ["sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x; exit {code}"]


def test_the_end_is_told_at_once_to_a_caller_who_does_not_read():
    with handed(write_and_exit(MUCH)) as running:
        running.report.wait_for(rb"exit 3\n")
        assert os.read(running.caller, 100) == b"ended"
        assert running.process.poll() is None


def test_what_is_left_is_copied_after_the_end():
    with handed(write_and_exit(MUCH)) as running:
        running.report.wait_for(rb"exit 3\n")
        assert running.process.poll() is None
        out, log = Reader(running.out), Reader(running.logs[0])
        assert running.end() == 3
        assert out.all() == log.all() == b"x" * MUCH


def test_a_stop_ends_the_copying_and_the_log_has_it_all():
    with handed(write_and_exit(MUCH)) as running:
        log = Reader(running.logs[0])
        running.report.wait_for(rb"exit 3\n")
        running.process.send_signal(signal.SIGCONT)
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 3
        assert log.all() == b"x" * MUCH


def test_one_that_was_asked_to_end_does_not_wait_for_who_does_not_read():
    with handed(
        ["sh", "-c", "trap 'echo bye; exit 3' TERM; yes x | head -c 100000; while :; do sleep 0.02; done"]
    ) as running:
        log = Reader(running.logs[0])
        log.wait_for_size(65_536)
        running.process.terminate()
        assert running.end() == 3
        assert log.all().endswith(b"x\nbye\n")


@MANNERS
def test_signals_arrive_though_nobody_reads(manner):
    with handed(["sh", "-c", "echo ready >&2; exec yes"], **manner) as running:
        running.wait_until_stuck("yes")
        running.process.terminate()
        running.report.wait_for(rb"signal 15 nocore\n")


@MANNERS
def test_streams_can_be_opened_by_name(manner):
    script = "echo one >/dev/stdout && echo two >/dev/stderr && echo three >/proc/self/fd/1"
    with handed(["sh", "-c", script], **manner) as running:
        logs = [Reader(log) for log in running.logs]
        assert running.end() == 0
        if manner.get("tty"):
            assert logs[0].all() == b"one\r\ntwo\r\nthree\r\n"
        else:
            assert [log.all() for log in logs] == [b"one\nthree\n", b"two\n"]


@pytest.mark.needs_root
@MANNERS
def test_streams_can_be_opened_by_an_ordinary_user(manner):
    script = "echo one >/dev/stdout && echo two >/dev/stderr && stat -Lc %u /dev/stdout"
    with handed(["sh", "-c", script], options=["--user", "1234:1234"], **manner) as running:
        logs = [Reader(log) for log in running.logs]
        assert running.end() == 0
        assert (logs[0].all() + logs[1].all()).split() in ([b"one", b"1234", b"two"], [b"one", b"two", b"1234"])


@pytest.mark.needs_root
def test_a_device_at_standard_input_stays_the_hosts(tmp_path):
    node = tmp_path / "null"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with handed(["true"], options=["--user", "1234:1234"], stdin=node) as running:
        assert running.end() == 0
    assert node.stat().st_uid == 0


def test_a_log_that_does_not_read_holds_up_no_signal():
    with handed(["yes"], attached=False) as running:
        running.wait_until_stuck("yes")
        running.process.terminate()
        running.report.wait_for(rb"signal 15 nocore\n")
        log = Reader(running.logs[0])
        assert running.end() == 143
        assert len(log.all()) >= 65536


def test_a_log_that_is_gone_ends_nothing():
    with handed(["sh", "-c", "read line </dev/stdin; yes | head -n 100000; exit 5"], attached=False) as running:
        running.drop(*running.logs)
        assert running.end() == 5


def test_what_others_write_without_end_is_not_waited_for():
    with handed(["sh", "-c", "yes & sleep 0.2; exit 5"]) as running:
        _, log = Reader(running.out), Reader(running.logs[0])
        assert running.end() == 5
        assert log.all().startswith(b"y\n")


def test_a_reader_who_is_gone_is_sigpipe():
    with handed(["yes"]) as running:
        log = Reader(running.logs[0])
        log.wait_for(rb"y\n")
        running.say("closed 1")
        running.drop(running.out)
        assert running.end() == 128 + signal.SIGPIPE


def test_the_payload_outlives_its_caller():
    script = "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); echo $i; done; exit 6"
    with handed(["sh", "-c", script]) as running:
        log = Reader(running.logs[0])
        running.drop(running.caller, running.out, running.err)
        assert running.end() == 6
        assert log.all().split()[-1] == b"20000"


def test_sigpipe_of_inits_own_stays_with_it():
    script = "trap 'echo got >&2' PIPE; i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); echo $i; done; exit 6"
    with handed(["sh", "-c", script]) as running:
        logs = [Reader(log) for log in running.logs]
        running.drop(running.out)
        assert running.end() == 6
        assert logs[1].all() == b""


def test_a_payload_on_a_terminal_outlives_its_caller(tmp_path):
    later = f"(while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo later) &"
    script = f"{later} echo ready; if read line; then echo got; else echo end of file; fi; sleep 60"
    with handed(["sh", "-c", script], tty=True) as running:
        log = Reader(running.logs[0])
        log.wait_for(rb"ready")
        running.drop(running.caller, running.out)
        (tmp_path / "go").touch()
        log.wait_for(rb"later")
        running.process.terminate()
        assert running.end() == 128 + signal.SIGTERM
        assert log.all() == b"ready\r\nlater\r\n"


def test_a_terminal_can_be_closed_and_opened_again():
    script = (
        "exec </dev/null >/dev/null 2>&1; sleep 0.2; exec </dev/tty >/dev/tty 2>&1; echo back; read line; echo $line"
    )
    with handed(["sh", "-c", script], tty=True) as running:
        out = Reader(running.out)
        out.wait_for(rb"back")
        os.write(running.out, b"typed\n")
        assert running.end() == 0
        assert out.all() == b"back\r\ntyped\r\ntyped\r\n"


def test_the_terminal_has_the_size_of_the_callers():
    with handed(
        ["sh", "-c", "trap 'stty size; exit 4' WINCH; stty size; while :; do sleep 0.02; done"], tty=True
    ) as running:
        out = Reader(running.out)
        out.wait_for(rb"24 80\r\n")
        running.say("size 30x100")
        assert running.end() == 4
        assert out.all() == b"24 80\r\n30 100\r\n"


@pytest.mark.parametrize(
    "word", ["\0", "size", "size 1", "closed 0", "closed 3", "closed -1", "closed 99999999999", "x" * 500]
)
def test_a_caller_who_talks_nonsense(word):
    with handed(["sh", "-c", "echo ready; sleep 0.3; echo here"]) as running:
        out = Reader(running.out)
        out.wait_for(rb"ready")
        running.say(word)
        assert running.end() == 0
        assert out.all() == b"ready\nhere\n"


def test_the_command_has_its_own_descriptors_only():
    with handed(["sh", "-c", "for fd in 3 4 5 6 7; do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done"]) as running:
        out = Reader(running.out)
        assert running.end() == 0
        assert out.all() == b""


FAULTS = ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGPIPE")


@pytest.mark.needs_root
@pytest.mark.parametrize("name", [*FAULTS, "SIGTERM", "SIGALRM", "SIGTSTP", "SIGRTMIN"])
def test_a_signal_to_pid_1_is_passed_on(name):
    number = int(getattr(signal, name))
    script = f"trap 'exit 42' {number}; echo ready; while :; do sleep 0.02; done"
    with handed(["sh", "-c", script], prefix=["unshare", "--pid", "--fork"]) as running:
        Reader(running.out).wait_for(rb"ready")
        first = processes.first_child(running.process.pid)
        os.kill(first, number)
        assert running.end() == 42
