"""Streams between a process and its caller: nothing is lost, whatever descriptors the caller has."""

from __future__ import annotations

import fcntl
import os
import resource
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from volt_core.contracts import Streams
from volt_core.processes import MARKER
from volt_core.supervisor.client import Supervised
from volt_core.supervisor.log import LogWriter
from volt_core.supervisor.logreader import read_log
from volt_core.supervisor.model import Launch, Process
from volt_core.supervisor.streams import Event, OutputPump

_SIZE = 2_000_000


def gather(descriptor: int, pause: float, into: list[int]) -> None:
    """Count what comes, slowly at first so that the pipe fills."""
    while data := os.read(descriptor, 20_000):
        into.append(len(data))
        if len(into) < 50:
            time.sleep(pause)


def run_into_one_pipe(folder: Path, script: str, *, tty: bool) -> int:
    """Return how much output arrives in a non-blocking pipe that stands for both streams."""
    workload_id = secrets.token_hex(16)
    read, write = os.pipe()
    stdin, stdin_write = os.pipe()
    os.set_blocking(write, False)
    came: list[int] = []
    reader = threading.Thread(target=gather, args=(read, 0.01, came))
    reader.start()
    launch = Launch(
        id=workload_id,
        folder=str(folder),
        log=str(folder / "log"),
        process=Process.of(["sh", "-c", script], {"PATH": os.environ["PATH"], MARKER: workload_id}, tty=tty),
        invocation=secrets.token_hex(16),
    )
    streams = Streams(stdin=stdin, stdout=write, stderr=write, tty=tty)
    try:
        assert Supervised(folder, workload_id, "it").run_attached(launch, streams, lambda: None).code == 0
    finally:
        for descriptor in (write, stdin, stdin_write):
            os.close(descriptor)
        reader.join()
        os.close(read)
    return sum(came)


@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "terminal"])
def test_a_caller_with_non_blocking_output_gets_all_of_it(tmp_path: Path, tty: bool) -> None:
    script = f"head -c {_SIZE} /dev/zero & head -c {_SIZE} /dev/zero >&2; wait"
    assert run_into_one_pipe(tmp_path, script, tty=tty) == 2 * _SIZE


def high(descriptor: int) -> int:
    """Move a descriptor to where select() cannot reach."""
    moved: int = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 1500)
    os.close(descriptor)
    return moved


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Allow this process numbers above 1500."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2000), max(before[1], 2000)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0], max(before[1], 2000)))


@pytest.mark.usefixtures("many_descriptors")
def test_what_is_left_is_read_from_any_descriptor(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"the rest\n")
    log = LogWriter(tmp_path / "log")
    pump = OutputPump(high(read), log=log, stream="stdout", sink=None, wake=Event())
    pump.drain()
    pump.start()
    pump.close()
    log.close()
    os.close(write)
    assert [record.data for record in read_log(tmp_path / "log")] == [b"the rest"]


@pytest.mark.parametrize("caller_is_gone", [True, False])
def test_a_reader_that_leaves_together_with_the_caller_breaks_no_pipe(tmp_path: Path, caller_is_gone: bool) -> None:
    source, source_write = os.pipe()
    reader, sink = os.pipe()
    os.close(reader)
    log = LogWriter(tmp_path / "log")
    pump = OutputPump(source, log=log, stream="stdout", sink=sink, wake=Event(), break_on_epipe=True)
    pump.start()
    os.write(source_write, b"one\n")
    if caller_is_gone:
        time.sleep(0.05)  # word of the caller's end comes after that of its reader
        pump.abandon()
        time.sleep(0.5)
        os.write(source_write, b"two\n")
        os.close(source_write)
    else:
        assert pump.logged.wait(10)
        with pytest.raises(BrokenPipeError):
            os.write(source_write, b"two\n")
        os.close(source_write)
    pump.close()
    log.close()
    expected = [b"one", b"two"] if caller_is_gone else [b"one"]
    assert [record.data for record in read_log(tmp_path / "log")] == expected
