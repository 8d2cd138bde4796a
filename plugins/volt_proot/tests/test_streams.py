"""Foreground runs and their log: three streams, byte for byte, whoever leaves first."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from volt_core.contracts import Streams
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Status, Workload
from volt_core.testing.workbench import Pipes, Workbench, background

pytestmark = [pytest.mark.needs_proot, pytest.mark.needs_busybox]
FIVE_MB = random.Random(5).randbytes(5_000_000)


def sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def attach(bench: Workbench, workload: Workload, streams: Streams) -> Outcome:
    return bench.backend.run_attached(workload, streams, lambda: None)  # type: ignore[attr-defined,no-any-return]


def log_bytes(bench: Workbench, workload: Workload, stream: str = "stdout") -> bytes:
    """The stream as the log kept it."""
    records = (record for record in bench.backend.logs(workload) if record.stream == stream)
    return b"".join(record.data + (b"" if record.partial else b"\n") for record in records)


def test_five_megabytes_through_stdin_and_stdout_and_into_the_log(bench: Workbench) -> None:
    workload = bench.create(("cat",))
    with Pipes(FIVE_MB) as pipes:
        assert attach(bench, workload, pipes.streams).code == 0
        assert pipes.output() == FIVE_MB
        assert pipes.error() == b""
    assert log_bytes(bench, workload) == FIVE_MB


def test_stdout_and_stderr_at_once_and_apart(bench: Workbench) -> None:
    workload = bench.create(sh("cat /five; cat /five >&2"))
    (bench.folder(workload) / "rootfs/five").write_bytes(FIVE_MB)
    with Pipes() as pipes:
        assert attach(bench, workload, pipes.streams).code == 0
        assert (pipes.output(), pipes.error()) == (FIVE_MB, FIVE_MB)
    assert log_bytes(bench, workload, "stderr") == FIVE_MB


def test_exec_streams_are_byte_exact_and_not_in_the_log(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"))
    with Pipes(FIVE_MB) as pipes:
        outcome = bench.backend.exec(workload, sh("tee /dev/stderr"), pipes.streams)  # type: ignore[attr-defined]
        assert outcome.code == 0
        assert (pipes.output(), pipes.error()) == (FIVE_MB, FIVE_MB)
    assert bench.lines(workload) == []


def test_files_as_streams(bench: Workbench, tmp_path: Path) -> None:
    workload = bench.create(sh("cat; echo error >&2"))
    (tmp_path / "in").write_bytes(FIVE_MB)
    (tmp_path / "out").write_bytes(b"kept ")
    with (
        (tmp_path / "in").open("rb") as stdin,
        (tmp_path / "out").open("ab") as stdout,
        (tmp_path / "err").open("wb") as stderr,
    ):
        attach(bench, workload, Streams(stdin=stdin.fileno(), stdout=stdout.fileno(), stderr=stderr.fileno()))
    assert (tmp_path / "out").read_bytes() == b"kept " + FIVE_MB
    assert (tmp_path / "err").read_bytes() == b"error\n"


def test_a_reader_that_leaves_early_ends_an_endless_payload(bench: Workbench) -> None:
    workload = bench.create(("yes",))
    read, write = os.pipe()
    with Pipes() as pipes:
        streams = Streams(stdin=pipes.streams.stdin, stdout=write, stderr=pipes.streams.stderr)
        with background(lambda: attach(bench, workload, streams)) as running:
            assert os.read(read, 2) == b"y\n"
            os.close(read)
            outcome = running.result(bench.patience)
    os.close(write)
    assert (outcome.signal, outcome.exit_status) == (signal.SIGPIPE, 141)


def test_the_callers_descriptors_stay_blocking(bench: Workbench) -> None:
    workload = bench.create(("cat",))
    with Pipes(b"x") as pipes:
        attach(bench, workload, pipes.streams)
        assert all(os.get_blocking(fd) for fd in (pipes.streams.stdin, pipes.streams.stdout, pipes.streams.stderr))


def test_a_caller_who_reads_nothing_does_not_keep_a_stop_from_ending(bench: Workbench) -> None:
    workload = bench.create(("yes",))
    read, write = os.pipe()
    with Pipes() as pipes:
        streams = Streams(stdin=pipes.streams.stdin, stdout=write, stderr=pipes.streams.stderr)
        with background(lambda: attach(bench, workload, streams)):
            bench.wait_for("running", lambda: bench.backend.status(workload).status is Status.RUNNING)
            bench.wait_for("output", lambda: len(bench.lines(workload, tail=1)))
            bench.backend.stop(workload, 10)
            assert bench.backend.status(workload).status is Status.STOPPED
            # Nor from running again, while that caller still has output to take.
            bench.backend.start(workload)
            bench.backend.stop(workload, 0)
            os.close(write)
            while os.read(read, 1 << 16):
                pass
    os.close(read)


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
workload = msgspec.json.decode(sys.stdin.buffer.readline(), type=Workload)
backend.run_attached(workload, Streams(stdin=0, stdout=1, stderr=2), lambda: None)
"""


@pytest.mark.parametrize("reads", [True, False], ids=["reader-stays", "reader-leaves"])
def test_a_killed_caller_takes_nothing_with_it(bench: Workbench, reads: bool) -> None:
    import msgspec

    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); [ $i != 100 ] || sleep 0.5; done; sleep 1000"
    workload = bench.create(sh(script))
    root = bench.backend.paths.etc.parent
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(msgspec.json.encode(workload) + b"\n")
    client.stdin.flush()
    assert client.stdout.readline() == b"line 0\n"
    client.kill()
    client.wait()
    if not reads:
        client.stdout.close()
    client.stdin.close()
    bench.wait_for("the log", lambda: bench.lines(workload, tail=1) == [b"line 2999"])
    assert bench.backend.status(workload).status is Status.RUNNING
    assert bench.lines(workload) == [b"line %d" % number for number in range(3000)]
    client.stdout.close()


def test_a_prompt_without_newline_reaches_a_follower(bench: Workbench) -> None:
    workload = bench.start(sh("printf 'name? '; sleep 1000"))
    bench.wait_for("the prompt", lambda: bench.lines(workload) == [b"name? "])
    assert [record.partial for record in bench.backend.logs(workload)] == [True]


def test_a_flood_is_kept_whole(bench: Workbench) -> None:
    workload = bench.start(sh("yes 0123456789 | head -n 500000"))
    begin = time.monotonic()
    assert bench.backend.wait(workload, 60).code == 0
    assert sum(record.data == b"0123456789" for record in bench.backend.logs(workload)) == 500_000
    assert time.monotonic() - begin < 60
