"""What a container has of its streams and of its confinement, and what is left of a caller who is gone."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_core.contracts import Streams
from volt_core.errors import WrongState
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Status, Workload
from volt_core.testing.roots import make_busybox_root
from volt_core.testing.workbench import GRACE, Pipes, Workbench

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

_BY_NAME = "echo out >/dev/stdout && echo err >/dev/stderr && echo fd >/proc/self/fd/1"
_USERS = pytest.mark.parametrize("user", ["", "1234:1234"], ids=["root", "user"])
_CAP_SYS_ADMIN = 21
_CONFINED = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters")


def attach(
    bench: Workbench, workload: Workload, streams: Streams, started: Callable[[], None] = lambda: None
) -> Outcome:
    return bench.backend.run_attached(workload, streams, started)  # type: ignore[attr-defined, no-any-return]


def execute(bench: Workbench, workload: Workload, script: str, user: str = "") -> bytes:
    with Pipes() as pipes:
        outcome = bench.backend.exec(workload, ("sh", "-c", script), pipes.streams, user=user)  # type: ignore[attr-defined]
        text = pipes.output()
        assert outcome.code == 0, pipes.error()
    return text


@_USERS
@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "tty"])
def test_streams_of_a_detached_run_can_be_opened_by_name(bench: Workbench, user: str, tty: bool) -> None:
    workload = bench.start(("sh", "-c", _BY_NAME), user=user, tty=tty)
    assert bench.backend.wait(workload, bench.patience).code == 0
    records = {(record.stream if not tty else "tty", record.data.rstrip()) for record in bench.backend.logs(workload)}
    expected = [("stdout", b"out"), ("stderr", b"err"), ("stdout", b"fd")]
    assert records == {(stream if not tty else "tty", data) for stream, data in expected}


@_USERS
def test_streams_of_an_attached_run_can_be_opened_by_name(bench: Workbench, user: str) -> None:
    script = f"{_BY_NAME} && read line </dev/stdin && echo $line"
    workload = bench.create(("sh", "-c", script), user=user, stdin_open=True)
    with Pipes(b"typed\n") as pipes:
        assert attach(bench, workload, pipes.streams).code == 0
        assert (pipes.output(), pipes.error()) == (b"out\nfd\ntyped\n", b"err\n")


@_USERS
def test_streams_of_an_exec_can_be_opened_by_name(bench: Workbench, user: str) -> None:
    workload = bench.start(("sleep", "1000"))
    assert execute(bench, workload, _BY_NAME, user) == b"out\nfd\n"


def test_the_end_of_a_long_log_is_kept(bench: Workbench) -> None:
    workload = bench.start(("sh", "-c", "seq 30000; echo last; exit 3"))
    assert bench.backend.wait(workload, bench.patience).code == 3
    assert bench.lines(workload)[-2:] == [b"30000", b"last"]


@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "tty"])
def test_no_descriptor_of_the_callers_is_inside(bench: Workbench, tty: bool) -> None:
    master, slave = pty.openpty()
    events, _signals = os.pipe()
    workload = bench.create(("sleep", "1000"), tty=tty, stdin_open=True)
    streams = Streams(stdin=slave, stdout=slave, stderr=slave, tty=tty, events=events)
    started = threading.Event()
    run = threading.Thread(target=attach, args=(bench, workload, streams, started.set))
    run.start()
    assert started.wait(bench.patience)
    devices = execute(bench, workload, "stat -Lc %d /proc/[0-9]*/fd/* 2>/dev/null; true").split()
    callers = os.fstat(slave).st_dev
    bench.fresh().stop(workload, GRACE)
    run.join(bench.patience)
    for descriptor in (master, slave, events, _signals):
        os.close(descriptor)
    assert len(devices) >= 3
    assert str(callers).encode() not in devices


@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "tty"])
def test_workload_and_log_outlive_a_caller_who_is_killed(bench: Workbench, tty: bool) -> None:
    script = "trap 'echo asked; exit 7' TERM; i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.05; done"
    workload = bench.create(("sh", "-c", script), tty=tty)
    with Pipes(None) as pipes:
        pid = os.fork()
        if pid == 0:
            streams = pipes.streams
            attach(bench, workload, Streams(stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr, tty=tty))
            os._exit(0)
        pipes.wait_for_output(bench.patience)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        seen = len(bench.lines(workload))
        bench.wait_for("more lines", lambda: len(bench.lines(workload)) > seen + 5)
        assert bench.backend.status(workload).status is Status.RUNNING
        bench.backend.stop(workload, GRACE)
        assert bench.backend.wait(workload, bench.patience).code == 7
    assert bench.lines(workload)[-1].rstrip() == b"asked"


@pytest.mark.parametrize("options", [{}, {"privileged": True}, {"boot": True}], ids=["plain", "privileged", "boot"])
def test_an_exec_may_do_what_the_payload_may(bench: Workbench, tmp_path: Path, options: dict[str, bool]) -> None:
    command = ("sleep", "1000")
    if "boot" in options:
        root = make_busybox_root(tmp_path / "root")
        root.joinpath("sbin").mkdir(exist_ok=True)
        root.joinpath("sbin/init").symlink_to("/bin/busybox")
        root.joinpath("etc/os-release").write_text("ID=test\n")
        bench.image, command = bench.backend.store.put_directory(root).digest, ()
    workload = bench.start(command, **options)
    bench.wait_for("the init", lambda: _takes_commands(bench, workload))
    payload, root = (_fields(execute(bench, workload, f"cat /proc/{pid}/status")) for pid in ("1", "self"))
    assert root == payload
    assert bool(int(payload["CapEff"], 16) >> _CAP_SYS_ADMIN & 1) == bool(options)
    ordinary = _fields(execute(bench, workload, "cat /proc/self/status", "1234:1234"))
    assert ordinary == payload | dict.fromkeys(("CapPrm", "CapEff"), "0" * 16)


def test_an_exec_has_no_controlling_terminal_of_the_callers(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"))
    assert execute(bench, workload, "(: </dev/tty) 2>/dev/null || echo none") == b"none\n"


def test_an_exec_does_not_wait_for_what_it_leaves_behind(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"))
    assert execute(bench, workload, "sleep 1000 & echo started") == b"started\n"
    assert b"sleep" in execute(bench, workload, "cat /proc/[0-9]*/comm")


def _takes_commands(bench: Workbench, workload: Workload) -> bool:
    with contextlib.suppress(WrongState):
        return execute(bench, workload, "echo yes") == b"yes\n"
    return False


def _fields(status: bytes) -> dict[str, str]:
    found = dict(line.split(":\t", 1) for line in status.decode().splitlines())
    return {name: found[name] for name in _CONFINED}
