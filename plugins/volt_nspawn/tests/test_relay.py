"""The caller's side of foreground runs and of exec, with the test as the container."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import signal
import socket
import stat
import subprocess
import termios
from collections.abc import Iterator

import pytest

from volt_core.contracts import Streams
from volt_core.testing.workbench import SHORT, Pipes, background
from volt_nspawn.relay import Relay

PATIENCE = 20.0


class Inside:
    """The other side of a relay."""

    def __init__(self, relay: Relay) -> None:
        self.stdin, self.stdout, self.stderr = (os.dup(descriptor) for descriptor in relay.far)
        relay.hand_over()
        self.connection, self._near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(PATIENCE)
        self._relay = relay
        self._connected = False

    def connect(self) -> None:
        """Let the relay have the connection, which closes it then."""
        self._connected = True
        self._relay.connect(self._near)

    def end(self) -> None:
        """Have ended."""
        for descriptor in (self.stdin, self.stdout, self.stderr):
            os.close(descriptor)
        self.connection.close()
        if not self._connected:
            self._near.close()


@contextlib.contextmanager
def entered(
    streams: Streams, *, connected: bool = True, outlives_terminal: bool = True
) -> Iterator[tuple[Relay, Inside]]:
    """Have a relay and its other side for the length of the block."""
    with Relay(streams, outlives_terminal=outlives_terminal) as relay:
        inside = Inside(relay)
        if connected:
            inside.connect()
        try:
            yield relay, inside
        finally:
            inside.end()


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


class Terminal:
    """The caller's terminal."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.events, self._signals = os.pipe()
        self.streams = Streams(stdin=self.slave, stdout=self.slave, stderr=self.slave, tty=True, events=self.events)

    def send(self, number: int) -> None:
        os.write(self._signals, bytes([number]))

    def hang_up(self) -> None:
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        for descriptor in (self.master, self.slave, self.events, self._signals):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    attributes = termios.tcgetattr(terminal.slave)
    attributes[3] &= ~(termios.ECHO | termios.ICANON)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(terminal.slave, termios.TCSANOW, attributes)
    yield terminal
    terminal.close()


def read_all(descriptor: int) -> bytes:
    chunks = []
    while chunk := os.read(descriptor, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def test_bytes_arrive_as_they_are_and_streams_stay_apart():
    data = random.Random(1).randbytes(1_000_000)
    with Pipes(data) as pipes:
        with entered(pipes.streams) as (relay, inside), background(lambda: read_all(inside.stdin)) as reading:
            write_all(inside.stderr, data[:100_000])
            write_all(inside.stdout, data)
            assert reading.result(PATIENCE) == data
            relay.finish()
        assert (pipes.output(), pipes.error()) == (data, data[:100_000])


def test_nothing_of_the_callers_goes_into_a_container(terminal):
    with Pipes() as pipes, entered(terminal.streams) as (_, inside), entered(pipes.streams) as (_, other):
        given = (terminal.slave, pipes.streams.stdin, pipes.streams.stdout, pipes.streams.stderr)
        callers = {os.fstat(descriptor).st_ino for descriptor in given}
        for descriptor in (inside.stdin, inside.stdout, inside.stderr):
            assert stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        for descriptor in (other.stdin, other.stdout, other.stderr):
            assert stat.S_ISFIFO(os.fstat(descriptor).st_mode)
            assert os.fstat(descriptor).st_ino not in callers


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not yet"])
def test_a_reader_who_is_gone_is_told(connected):
    with Pipes(reads=False) as pipes, entered(pipes.streams, connected=connected) as (_, inside):
        os.write(inside.stdout, b"x")
        if not connected:
            with pytest.raises(BrokenPipeError):
                write_all(inside.stdout, b"x" * 1_000_000)
            inside.connect()
        assert inside.connection.recv(100) == b"closed 1"


def test_a_terminal_that_hangs_up_is_the_end_of_the_caller_but_not_of_what_is_typed(terminal):
    with entered(terminal.streams) as (_, inside):
        os.write(terminal.master, b"typed")
        assert os.read(inside.stdin, 100) == b"typed"
        terminal.hang_up()
        os.write(inside.stdout, b"still here")
        assert inside.connection.recv(100) == b""
        assert read_all(inside.stdin) == b""


def test_input_that_ends_is_typed_as_its_end():
    with Pipes(b"all of it") as pipes:
        streams = Streams(stdin=pipes.streams.stdin, stdout=pipes.streams.stdout, stderr=pipes.streams.stderr, tty=True)
        with entered(streams) as (_, inside):
            text = b""
            while len(text) < len(b"all of it\x04"):
                text += os.read(inside.stdin, 100)
            assert text == b"all of it\x04"


def test_the_size_of_the_terminal_is_told(terminal):
    with entered(terminal.streams) as (relay, inside):
        relay.attend(os.getpid())
        termios.tcsetwinsize(terminal.master, (30, 100))
        terminal.send(signal.SIGWINCH)
        assert inside.connection.recv(100) == b"size 30x100"


@pytest.mark.parametrize(("outlives_terminal", "ends_by"), [(True, signal.SIGTERM), (False, signal.SIGHUP)])
def test_a_hangup_is_for_what_ends_with_the_terminal(terminal, outlives_terminal, ends_by):
    terminal.send(signal.SIGHUP)  # what came before there was a process is for it, too
    with (
        subprocess.Popen(["sleep", "60"]) as process,
        entered(terminal.streams, outlives_terminal=outlives_terminal) as (relay, _),
    ):
        relay.attend(process.pid)
        terminal.send(signal.SIGTERM)
        assert process.wait(PATIENCE) == -ends_by


def test_a_signal_after_the_end_leaves_who_does_not_read(terminal):
    termios.tcflow(terminal.slave, termios.TCOOFF)
    with entered(terminal.streams) as (relay, inside):
        relay.attend(os.getpid())
        os.write(inside.stdout, b"never seen")
        with background(relay.finish) as waiting:
            with pytest.raises(TimeoutError):
                waiting.result(SHORT)
            terminal.send(signal.SIGTERM)
        assert inside.connection.recv(100) == b""
    assert not select.select([terminal.master], [], [], SHORT)[0]


def test_the_end_of_the_command_is_heard_before_that_of_the_unit(terminal):
    termios.tcflow(terminal.slave, termios.TCOOFF)
    with subprocess.Popen(["sleep", "60"]) as process, entered(terminal.streams) as (relay, inside):
        relay.attend(process.pid)
        inside.connection.send(b"ended")
        terminal.send(signal.SIGWINCH)
        assert inside.connection.recv(100).startswith(b"size ")  # so that was heard
        terminal.send(signal.SIGTERM)
        assert inside.connection.recv(100) == b""
        assert process.poll() is None
        process.kill()


def test_who_holds_the_pipe_without_end_is_not_waited_for():
    with Pipes() as pipes:
        with entered(pipes.streams) as (relay, inside):
            os.write(inside.stdout, b"last words")
            relay.finish()
        assert pipes.output() == b"last words"


def test_a_descriptor_that_does_not_block_stays_so_and_gets_all():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with Pipes() as pipes, background(lambda: read_all(reader)) as reading:
        with entered(Streams(stdin=pipes.streams.stdin, stdout=writer, stderr=writer)) as (relay, inside):
            write_all(inside.stdout, b"x" * 500_000)
            relay.finish()
        assert not os.get_blocking(writer)
        os.close(writer)
        assert reading.result(PATIENCE) == b"x" * 500_000
    os.close(reader)


def test_a_full_disk_is_a_reader_who_is_gone():
    with Pipes() as pipes, open("/dev/full", "wb", buffering=0) as full:
        streams = Streams(stdin=pipes.streams.stdin, stdout=full.fileno(), stderr=pipes.streams.stderr)
        with entered(streams) as (_, inside):
            os.write(inside.stdout, b"x")
            assert inside.connection.recv(100) == b"closed 1"
