"""How containers end: by themselves, stopped, or because somebody killed what should have looked after them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from volt_core import processes
from volt_core.contracts import BackendContext
from volt_core.errors import BackendError, InvalidSpec, WrongState
from volt_core.models.workload import ContainerSpec, Status, Workload
from volt_core.paths import VoltPaths
from volt_core.supervisor.model import RECORD_FILE
from volt_core.supervisor.place import RECORDS
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.host import loop_mounted
from volt_core.testing.workbench import Pipes, Workbench, background
from volt_proot.backend import ProotBackend

pytestmark = [pytest.mark.needs_proot, pytest.mark.needs_busybox]
# A daemon as daemons are made: a session of its own, its parent gone.
DAEMON = "(setsid sh -c 'trap \"\" TERM HUP; echo daemon; while :; do sleep 1; done' &)"


def sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def supervisor_pid(bench: Workbench, workload: Workload) -> int:
    return RECORDS.read(bench.folder(workload) / RECORD_FILE).pid


def kill_supervisor(bench: Workbench, workload: Workload) -> None:
    """As the kernel would when memory runs out."""
    pid = supervisor_pid(bench, workload)
    os.kill(pid, signal.SIGKILL)
    bench.wait_for("its end", lambda: not processes.find_stat(pid))


def kill_supervisor_and_guard(bench: Workbench, workload: Workload) -> None:
    """What is below them is then the marker's to find."""
    pid = supervisor_pid(bench, workload)
    os.kill(pid, signal.SIGSTOP)
    below = [stat for stat in processes.descendants(pid) if stat.parent == pid]
    for stat in below:
        os.kill(stat.pid, signal.SIGKILL)
    bench.wait_for("their end", lambda: not any(processes.is_same_process(stat.pid, stat.start) for stat in below))
    kill_supervisor(bench, workload)


def remains(workload: Workload) -> list[int]:
    """What still runs of it."""
    return [stat.pid for stat in processes.leftovers(workload.id)]


def test_daemons_and_execs_end_with_the_payload(bench: Workbench) -> None:
    workload = bench.start(sh(f"{DAEMON}; sleep 0.5; exit 3"))
    with Pipes(None) as pipes:
        running = bench.backend.exec(workload, ("sleep", "1000"), pipes.streams)  # type: ignore[attr-defined]
        assert running.signal == signal.SIGKILL
    assert bench.backend.wait(workload, bench.patience).code == 3
    assert bench.lines(workload) == [b"daemon"]
    assert remains(workload) == []


def test_a_stop_leaves_nothing_that_ignores_signals(bench: Workbench) -> None:
    workload = bench.start(sh(f"{DAEMON}; trap '' TERM; echo ready; while :; do sleep 1; done"))
    bench.wait_for("ready", lambda: len(bench.lines(workload)) == 2)
    begin = time.monotonic()
    bench.backend.stop(workload, 0.5)
    assert 0.5 <= time.monotonic() - begin < 5
    assert remains(workload) == []
    outcome = bench.backend.status(workload).outcome
    assert outcome is not None
    assert outcome.signal == signal.SIGKILL


def test_stop_sends_the_signal_of_the_specification(bench: Workbench) -> None:
    workload = bench.start(
        sh("trap 'echo bye; exit 9' USR2; echo ready; while :; do sleep 0.05; done"), stop_signal="SIGUSR2"
    )
    bench.wait_for("ready", lambda: bench.lines(workload))
    bench.backend.stop(workload, 10)
    assert bench.lines(workload) == [b"ready", b"bye"]
    outcome = bench.backend.status(workload).outcome
    assert outcome is not None
    assert outcome.code == 9


def test_an_unknown_stop_signal_is_refused_at_once(bench: Workbench) -> None:
    planned = bench.plan(("true",))
    spec = msgspec.structs.replace(planned.spec, stop_signal="SIGNONE")
    with pytest.raises(InvalidSpec, match="SIGNONE"):
        bench.backend.create(msgspec.structs.replace(planned, spec=spec))


def test_a_suspended_payload_stops(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"))
    bench.backend.kill(workload, signal.SIGSTOP)
    time.sleep(0.1)
    bench.backend.stop(workload, 10)
    outcome = bench.backend.status(workload).outcome
    assert outcome is not None
    assert outcome.signal == signal.SIGTERM


def test_a_fork_bomb_ends(bench: Workbench) -> None:
    workload = bench.start(sh("f() { sleep 0.2; f & f & }; f; wait; sleep 1000"))
    time.sleep(1)
    bench.backend.stop(workload, 0)
    assert remains(workload) == []


def test_after_the_supervisor_was_killed_the_status_says_so_and_what_to_do(bench: Workbench) -> None:
    workload = bench.start(sh(f"{DAEMON}; sleep 1000"))
    bench.wait_for("the daemon", lambda: bench.lines(workload))
    started = bench.backend.status(workload).started
    kill_supervisor(bench, workload)
    status = bench.backend.status(workload)
    assert (status.status, status.pid, status.started) == (Status.FAILED, None, started)
    assert status.outcome is not None
    assert status.outcome.result == "lost"
    assert "supervisor" in status.note
    assert f"volt start {workload.name}" in status.note
    assert bench.backend.wait(workload, 1) == status.outcome
    with pytest.raises(WrongState):
        bench.backend.kill(workload, signal.SIGTERM)
    # The payload itself went with its tracer; untraced it would see the host's files.
    payload_comms = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in remains(workload)]
    assert not any(b"1000" in comm for comm in payload_comms)


@pytest.mark.needs_native
def test_with_the_supervisor_all_else_ends_and_nothing_reaches_the_host(bench: Workbench, tmp_path: Path) -> None:
    # Waiting in a call that proot leaves alone, it does not notice that its tracer is gone.
    writer = f"(while :; do read -t 1 x <&9; echo hi >> {tmp_path}/file; done) &"
    workload = bench.start(
        sh(f"mkfifo /fifo; exec 9<>/fifo; {writer} (env -i setsid sleep 4711 &); {DAEMON}; sleep 1000")
    )
    pid = supervisor_pid(bench, workload)
    bench.wait_for("the daemon", lambda: b"daemon" in bench.lines(workload))
    bench.wait_for("sleep", lambda: any(b"4711" in _arguments(stat.pid) for stat in processes.descendants(pid)))
    everything = processes.descendants(pid)
    kill_supervisor(bench, workload)
    bench.wait_for(
        "all to end", lambda: not any(processes.is_same_process(stat.pid, stat.start) for stat in everything)
    )
    assert remains(workload) == []
    assert not (tmp_path / "file").exists()
    assert list((bench.folder(workload) / "tmp").iterdir()) == []


@pytest.mark.parametrize("act", ["start", "stop", "delete"])
def test_what_a_killed_supervisor_left_ends_at_the_next_act(bench: Workbench, act: str) -> None:
    workload = bench.start(sh("(setsid sleep 2000 &); trap : TERM; while :; do read x; done"))
    # One that proot is just translating a call for does not survive its tracer.
    bench.wait_for("the daemon asleep", lambda: any(_sleeps(stat) for stat in processes.leftovers(workload.id)))
    kill_supervisor_and_guard(bench, workload)
    left = set(remains(workload))
    assert left
    if act == "start":
        bench.backend.start(workload)
        assert bench.backend.status(workload).status is Status.RUNNING
    elif act == "stop":
        bench.backend.stop(workload, 5)
    else:
        bench.backend.delete(workload)
    assert not left & set(remains(workload))
    bench.backend.stop(workload, 0)
    assert remains(workload) == []


def test_a_foreground_run_hears_that_its_supervisor_was_killed(bench: Workbench) -> None:
    workload = bench.create(sh("echo here; sleep 1000"))
    with Pipes() as pipes:
        attach = bench.backend.run_attached  # type: ignore[attr-defined]
        with background(lambda: attach(workload, pipes.streams, lambda: None)) as running:
            pipes.wait_for_output(bench.patience)
            kill_supervisor(bench, workload)
            assert running.result(bench.patience).result == "lost"


def test_a_stuck_supervisor_is_not_waited_for_for_ever(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volt_core.supervisor.client._ANSWER_SECONDS", 0.5)
    workload = bench.start(("sleep", "1000"))
    os.kill(supervisor_pid(bench, workload), signal.SIGSTOP)
    bench.backend.stop(workload, 0.1)
    assert not bench.backend.status(workload).status.active
    assert remains(workload) == []


def test_a_terminated_supervisor_stops_its_container_first(bench: Workbench) -> None:
    workload = bench.start(sh("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"))
    bench.wait_for("ready", lambda: bench.lines(workload))
    os.kill(supervisor_pid(bench, workload), signal.SIGTERM)
    assert bench.backend.wait(workload, bench.patience).code == 0
    assert bench.lines(workload) == [b"ready", b"bye"]


def test_two_starts_at_once_start_one(bench: Workbench) -> None:
    for _ in range(5):
        workload = bench.create(("sleep", "1000"))
        barrier = threading.Barrier(2)

        def start(workload: Workload = workload, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                bench.fresh().start(workload)
            except WrongState:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(lambda _, start=start: start(), range(2))) == [False, True]
        assert bench.backend.status(workload).status is Status.RUNNING
        assert len([pid for pid in remains(workload) if _arguments(pid).startswith(b"sleep\0")]) == 1
        bench.backend.stop(workload, 0)


def _sleeps(stat: processes.Stat) -> bool:
    return stat.state == "S" and _arguments(stat.pid).startswith(b"sleep\0")


def _arguments(pid: int) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_twenty_in_parallel_and_each_supervisor_is_small(bench: Workbench) -> None:
    workloads = [bench.create(sh(f"echo {number}; sleep 1000")) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda workload: bench.fresh().start(workload), workloads))
        assert all(status.status is Status.RUNNING for status in bench.backend.statuses(workloads).values())
        for workload in workloads:
            text = Path(f"/proc/{supervisor_pid(bench, workload)}/status").read_text()
            found = re.search(r"VmRSS:\s+(\d+) kB", text)
            assert found is not None
            assert int(found[1]) < 25 * 1024
        list(pool.map(lambda workload: bench.fresh().stop(workload, 10), workloads))
    for number, workload in enumerate(workloads):
        assert bench.lines(workload) == [str(number).encode()]
        assert bench.backend.status(workload).status is Status.STOPPED


def test_supervisors_leave_no_zombie_and_no_open_terminal(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"))
    stat = processes.find_stat(supervisor_pid(bench, workload))
    assert stat is not None
    assert stat.parent != os.getpid()
    assert os.readlink(f"/proc/{stat.pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{stat.pid}/fd/{fd}") for fd in (0, 1)} == {"/dev/null"}
    assert os.getsid(stat.pid) != os.getsid(0)
    bench.backend.stop(workload, 10)
    bench.wait_for("its end", lambda: processes.find_stat(stat.pid) is None)


def test_a_path_of_any_length_will_do(busybox_root: Path, tmp_path: Path) -> None:
    paths = VoltPaths.below(tmp_path / ("d" * 100) / ("e" * 100))
    paths.prepare()
    backend = ProotBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))
    image = backend.store.put_directory(busybox_root).digest
    bench = Workbench(backend, lambda root, command: ContainerSpec(image="i", root=root, command=command), image, 20)
    try:
        workload = bench.start(("sleep", "1000"))
        assert backend.status(workload).status is Status.RUNNING
        backend.stop(workload, 10)
        assert backend.status(workload).status is Status.STOPPED
    finally:
        bench.clear()


@pytest.mark.needs_loop_mount
def test_on_a_full_disk_the_payload_runs_on_and_its_outcome_is_kept(bench: Workbench) -> None:
    with loop_mounted("ext4", 16) as disk:
        workload = bench.plan(sh("echo begin; sleep 0.5; cat /etc/big /etc/big; echo end >&2; exit 5"))
        folder = bench.folder(workload)
        folder.rmdir()
        folder.symlink_to(disk)
        bench.backend.create(workload)
        (disk / "rootfs/etc/big").write_bytes(b"x" * 999 + b"\n")
        bench.backend.start(workload)
        ballast = disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
        outcome = bench.backend.wait(workload, bench.patience)
        assert outcome.code == 5
        assert bench.backend.status(workload).outcome == outcome
        assert bench.lines(workload)[0] == b"begin"
        assert bench.backend.status(workload).status is Status.FAILED
        with pytest.raises(BackendError, match="No space left"):
            bench.backend.start(workload)
        ballast.unlink()
        bench.backend.start(workload)
        pid = supervisor_pid(bench, workload)
        bench.backend.wait(workload, bench.patience)
        bench.wait_for("the supervisor's end", lambda: processes.find_stat(pid) is None)
        folder.unlink()
        folder.mkdir()
