"""The supervisor with plain processes of the host: what a virtual machine without systemd gets of it."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from volt_core import native, processes
from volt_core.contracts import Streams
from volt_core.errors import BackendError, TimedOut, WrongState
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Status
from volt_core.processes import MARKER
from volt_core.supervisor import control
from volt_core.supervisor.client import Supervised
from volt_core.supervisor.logreader import read_log
from volt_core.supervisor.model import (
    LOCK_FILE,
    STATUS_FD,
    Ended,
    Exec,
    Launch,
    Process,
    Resize,
    Signal,
    Stop,
    Watch,
)
from volt_core.supervisor.place import OUTCOMES, RECORDS, Place, claim
from volt_core.testing.command import wait_for
from volt_core.testing.workbench import Pipes


class Workload:
    """A command under a supervisor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = secrets.token_hex(16)
        self.supervised = Supervised(folder, self.id, "it")

    def launch(self, *argv: str, **options: object) -> Launch:
        env = {"PATH": os.environ["PATH"], MARKER: self.id}
        return Launch(
            id=self.id,
            folder=str(self.folder),
            log=str(self.folder / "log"),
            process=Process.of(argv, env),
            invocation=secrets.token_hex(16),
            **options,  # type: ignore[arg-type]
        )

    def start(self, *argv: str, **options: object) -> None:
        self.supervised.start(self.launch(*argv, **options))

    def supervisor(self) -> int:
        """The process that looks after it."""
        pid = self.supervised.status().pid
        assert pid is not None
        stat = processes.find_stat(pid)
        assert stat is not None
        return stat.parent

    def log(self) -> list[bytes]:
        return [record.data for record in read_log(self.folder / "log")]


@pytest.fixture
def workload(tmp_path: Path) -> Iterator[Workload]:
    workload = Workload(tmp_path)
    yield workload
    workload.supervised.stop(signal.SIGTERM, 0)


@pytest.mark.parametrize("code", [0, 3, 127])
def test_the_exit_code(workload: Workload, code: int) -> None:
    workload.start("sh", "-c", f"echo out; echo error >&2; exit {code}")
    outcome = workload.supervised.wait(20)
    assert (outcome.code, outcome.signal, outcome.result) == (code, None, "exited")
    assert sorted(workload.log()) == [b"error", b"out"]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"schema": 99}'])
def test_a_damaged_outcome_is_one_that_is_lost(workload: Workload, damage: bytes) -> None:
    workload.start("sh", "-c", "exit 0")
    workload.supervised.wait(20)
    (workload.folder / "outcome.json").write_bytes(damage)
    while (status := workload.supervised.status()).status is Status.RUNNING:
        time.sleep(0.01)  # the supervisor itself is about to end
    assert status.status is Status.FAILED
    assert "outcome.json" in status.note
    assert workload.supervised.wait(1).result == "lost"
    workload.start("sleep", "1000")
    (workload.folder / "outcome.json").write_bytes(damage)
    assert workload.supervised.status().status is Status.RUNNING
    workload.supervised.stop(signal.SIGTERM, 5)
    assert workload.supervised.wait(1).signal == signal.SIGTERM


def test_the_signal(workload: Workload) -> None:
    workload.start("sh", "-c", "kill -USR1 $$; sleep 60")
    assert workload.supervised.wait(20).signal == signal.SIGUSR1


@pytest.mark.needs_root
@pytest.mark.needs_native
def test_a_payload_in_a_pid_namespace_has_its_number_of_the_host(workload: Workload) -> None:
    init = str(native.program("init"))
    workload.start("unshare", "--pid", "--fork", init, "--status-fd", STATUS_FD, "--", "sleep", "1000")
    pid = workload.supervised.status().pid
    assert pid is not None
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0" + b"1000\0"
    assert Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].split()[1] == "2"
    workload.supervised.send_signal(signal.SIGUSR1)
    assert workload.supervised.wait(20).signal == signal.SIGUSR1


@pytest.mark.needs_root
@pytest.mark.needs_native
def test_one_that_has_ended_at_once_there_is_not_taken_for_a_process_of_the_host(workload: Workload) -> None:
    init = str(native.program("init"))
    for code in range(5):
        workload.start("unshare", "--pid", "--fork", init, "--status-fd", STATUS_FD, "--", "sh", "-c", f"exit {code}")
        assert workload.supervised.wait(20).code == code
        payload = RECORDS.read(workload.folder / "supervisor.json").payload_pid
        assert payload != 2


def test_what_runs_without_init_is_not_entered_by_way_of_the_supervisor(workload: Workload) -> None:
    workload.start("sleep", "1000")
    with pytest.raises(WrongState):
        workload.supervised.find_init()


def test_stop_is_quick_when_it_ignores_the_signal(workload: Workload) -> None:
    workload.start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
    while workload.log() != [b"ready"]:
        time.sleep(0.01)
    begin = time.monotonic()
    workload.supervised.stop(signal.SIGTERM, 0.2)
    assert 0.2 <= time.monotonic() - begin < 3
    outcome = workload.supervised.status().outcome
    assert outcome is not None
    assert outcome.signal == signal.SIGKILL
    assert processes.leftovers(workload.id) == []


def test_a_program_that_is_not_there(workload: Workload) -> None:
    with pytest.raises(BackendError, match="no-such-program"):
        workload.start("no-such-program")
    status = workload.supervised.status()
    assert status.status is Status.FAILED
    assert status.outcome is not None
    assert status.outcome.result == "not-started"


def test_a_log_that_cannot_be_written_is_said_at_the_start(workload: Workload) -> None:
    (workload.folder / "log").mkdir()
    OUTCOMES.write(workload.folder / "outcome.json", Outcome(code=0))
    with pytest.raises(BackendError, match="log"):
        workload.start("true")
    status = workload.supervised.status()
    assert status.status is Status.FAILED
    assert status.outcome is not None
    assert status.outcome.result == "not-started"
    assert "log" in status.outcome.reason
    assert (workload.folder / LOCK_FILE).stat().st_size == 0


def exec_what_is_described_wrongly(connection: control.Connection) -> None:
    memfd = control.to_memfd(Process(argv=(b"true",), size=(70_000, 80)))
    connection.send(Exec(), (memfd, 0))
    os.close(memfd)


def exec_from_a_pipe(connection: control.Connection) -> None:
    read, write = os.pipe()
    connection.send(Exec(), (read, 0, 1, 2))
    os.close(read)
    os.close(write)


BAD_REQUESTS: dict[str, Callable[[control.Connection], object]] = {
    "no msgpack": lambda bad: bad.sock.send(b"\xc1nonsense"),
    "no request": lambda bad: bad.sock.send(b"\x80"),
    "no text": lambda bad: bad.sock.send(b"\x81\xa1\xff\xc0"),
    "a type that is no text": lambda bad: bad.sock.send(b"\x81\xa4type\xa1\xff"),
    "nested deeply": lambda bad: bad.sock.send(b"\x82\xa1x" + b"\x91" * 50_000),
    "no descriptors": lambda bad: bad.send(Exec()),
    "an exec from a pipe": exec_from_a_pipe,
    "an exec that is described wrongly": exec_what_is_described_wrongly,
    "no signal": lambda bad: bad.send(Signal(number=9999)),
    "every process": lambda bad: bad.send(Signal(number=0)),
    "a huge terminal": lambda bad: bad.send(Resize(rows=70_000, columns=80)),
    "a stop with no signal": lambda bad: bad.send(Stop(signal=9999, timeout=1.0)),
    "a stop in the past": lambda bad: bad.send(Stop(signal=15, timeout=-1.0)),
    "a stop at no time": lambda bad: bad.send(Stop(signal=15, timeout=float("nan"))),
}


@pytest.mark.parametrize("request_badly", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_what_is_no_request_costs_its_sender_the_connection_and_nobody_else(
    workload: Workload, request_badly: Callable[[control.Connection], object]
) -> None:
    workload.start("sleep", "1000")
    bad, good = control.find_supervisor(workload.folder), control.find_supervisor(workload.folder)
    assert bad is not None
    assert good is not None
    with contextlib.closing(bad), contextlib.closing(good):
        request_badly(bad)
        bad.sock.settimeout(20)
        assert bad.receive_answer() is None
        good.send(Watch())
        workload.supervised.stop(signal.SIGTERM, 10)
        good.sock.settimeout(20)
        answer = good.receive_answer()
        assert isinstance(answer, Ended)
        assert answer.outcome == workload.supervised.status().outcome


@pytest.mark.parametrize("where", ["argv", "env", "cwd"])
def test_a_nul_in_an_exec_fails_that_exec_alone(workload: Workload, where: str) -> None:
    workload.start("sleep", "1000")
    good = Process.of(["true"], {"PATH": os.environ["PATH"]})
    bad = {"argv": (b"echo", b"a\0b"), "env": ((b"A", b"a\0b"),), "cwd": "/a\0b"}[where]
    with Pipes() as pipes, pytest.raises(BackendError, match="null"):
        workload.supervised.exec(msgspec.structs.replace(good, **{where: bad}), pipes.streams)
    with Pipes() as pipes:
        assert workload.supervised.exec(good, pipes.streams).code == 0


def test_more_clients_than_descriptors_cost_themselves_alone(workload: Workload) -> None:
    workload.start("sleep", "1000")
    supervisor = workload.supervisor()
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (24, 24))
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            client = control.find_supervisor(workload.folder)
            assert client is not None
            stack.callback(client.close)
        client.sock.settimeout(20)
        assert client.receive_answer() is None
        assert workload.supervised.status().status is Status.RUNNING
    workload.supervised.stop(signal.SIGTERM, 10)
    outcome = workload.supervised.status().outcome
    assert outcome is not None
    assert outcome.signal == signal.SIGTERM


def test_a_stop_that_is_turned_away_is_asked_again(workload: Workload) -> None:
    workload.start("sleep", "1000")
    resource.prlimit(workload.supervisor(), resource.RLIMIT_NOFILE, (24, 24))
    with contextlib.ExitStack() as stack:
        clients = [control.find_supervisor(workload.folder) for _ in range(40)]
        for client in clients:
            assert client is not None
            stack.callback(client.close)
        leaving = threading.Timer(0.3, stack.pop_all().close)
        leaving.start()
        workload.supervised.stop(signal.SIGTERM, 10)
        leaving.join()
    outcome = workload.supervised.status().outcome
    assert outcome is not None
    assert outcome.signal == signal.SIGTERM


def test_a_supervisor_that_cannot_go_on_ends_the_workload_and_says_why(workload: Workload) -> None:
    """Its loop fails in whatever way: here it has no descriptor left to look at the processes with."""
    workload.start("sh", "-c", "sleep 1000 & exec sleep 1000")
    supervisor = workload.supervisor()
    watcher = control.find_supervisor(workload.folder)
    assert watcher is not None
    with contextlib.closing(watcher):
        watcher.send(Watch())
        time.sleep(0.2)
        used = set(map(int, os.listdir(f"/proc/{supervisor}/fd")))
        free = min(set(range(100)) - used)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (free, free))
        workload.supervised.send_signal(signal.SIGKILL)
        watcher.sock.settimeout(20)
        answer = watcher.receive_answer()
    assert isinstance(answer, Ended)
    assert answer.outcome == workload.supervised.status().outcome
    assert processes.leftovers(workload.id) == []
    assert "Too many open files" in (workload.folder / "supervisor.err").read_text()


def test_a_status_line_that_is_none_is_passed_over(workload: Workload) -> None:
    script = "echo pid $$ >&$0; echo exit zero >&$0; echo nonsense >&$0; echo signal >&$0; echo exit 5 >&$0"
    workload.start("bash", "-c", script, STATUS_FD)
    outcome = workload.supervised.wait(20)
    assert (outcome.code, outcome.result) == (5, "exited")


def test_its_socket_is_the_owners(workload: Workload) -> None:
    workload.start("sleep", "1000")
    assert (workload.folder / "supervisor.sock").stat().st_mode & 0o777 == 0o600
    workload.supervised.stop(signal.SIGTERM, 10)
    assert not (workload.folder / "supervisor.sock").exists()


def test_status_is_two_small_files(workload: Workload) -> None:
    assert workload.supervised.status().status is Status.CREATED
    workload.start("sleep", "1000")
    begin = time.perf_counter()
    for _ in range(100):
        assert workload.supervised.status().status is Status.RUNNING
    assert time.perf_counter() - begin < 1


def test_a_caller_who_has_signals_blocked_passes_that_on_to_nobody(workload: Workload) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    try:
        workload.start("true")
        assert workload.supervised.wait(20).code == 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_attached_and_exec_share_the_supervisor(workload: Workload) -> None:
    with Pipes(b"to stdin") as pipes:
        outcome = workload.supervised.run_attached(workload.launch("cat"), pipes.streams, lambda: None)
        assert outcome == workload.supervised.status().outcome
        assert pipes.output() == b"to stdin"
    workload.start("sleep", "1000")
    process = Process.of(["sh", "-c", "echo $0; exit 4", "hi"], {"PATH": os.environ["PATH"]})
    with Pipes() as pipes:
        assert workload.supervised.exec(process, pipes.streams).code == 4
        assert pipes.output() == b"hi\n"


def test_exec_needs_it_to_run(workload: Workload) -> None:
    streams = Streams(stdin=0, stdout=1, stderr=2)
    with pytest.raises(WrongState):
        workload.supervised.exec(Process.of(["true"], {}), streams)


def test_a_supervisor_that_fails_says_where_to_look(workload: Workload) -> None:
    workload.start("sleep", "1000")
    (workload.folder / "supervisor.err").write_text("Traceback")
    pid = workload.supervised.status().pid
    assert pid is not None
    # Until then it is setpriv, which has yet to ask for the parent-death signal.
    wait_for(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    os.kill(workload.supervisor(), signal.SIGKILL)
    wait_for(lambda: workload.supervised.status().status is not Status.RUNNING)
    assert "supervisor.err" in workload.supervised.status().note
    # Its own child went with it.
    wait_for(lambda: processes.find_stat(pid) is None)
    assert isinstance(workload.supervised.wait(1), Outcome)


@pytest.mark.parametrize("has_record", [True, False])
def test_what_is_left_is_found_by_whoever_knows_the_folder_alone(workload: Workload, has_record: bool) -> None:
    workload.start("sh", "-c", "sleep 2000 & echo ready; wait")
    while workload.log() != [b"ready"]:
        time.sleep(0.01)
    pid = RECORDS.read(workload.folder / "supervisor.json").pid
    os.kill(pid, signal.SIGKILL)
    while processes.find_stat(pid) is not None:
        time.sleep(0.01)
    assert processes.leftovers(workload.id)
    if not has_record:
        (workload.folder / "supervisor.json").unlink()
    Supervised(workload.folder, "", "it").stop(signal.SIGTERM, 0)
    assert processes.leftovers(workload.id) == []


def test_names_with_parentheses_do_not_confuse_proc(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 ("
    odd.symlink_to("/bin/sleep")
    pid = os.posix_spawn(odd, [str(odd), "1000"], os.environ)
    try:
        stat = processes.find_stat(pid)
        assert stat is not None
        assert stat.parent == os.getpid()
        assert stat.pid in {found.pid for found in processes.descendants(os.getpid())}
        assert processes.is_same_process(pid, stat.start)
        assert not processes.is_same_process(pid, stat.start + 1)
        assert not processes.send(pid, stat.start + 1, signal.SIGKILL)
        assert processes.send(pid, stat.start, signal.SIGKILL)
    finally:
        os.waitpid(pid, 0)
    assert processes.find_stat(pid) is None
    assert not processes.send(pid, 1, signal.SIGKILL)


def test_of_two_starts_one_is_refused_and_leaves_the_other_alone(workload: Workload) -> None:
    """However far the other has come: between its lock and its record it looks like one that was killed."""

    def start(delay: float) -> bool:
        time.sleep(delay)
        try:
            workload.start("sleep", "1000")
        except WrongState:
            return False
        return True

    for delay in (0.0, 0.04, 0.07, 0.1, 0.13):
        with ThreadPoolExecutor() as threads:
            assert sorted(threads.map(start, (0.0, delay))) == [False, True]
        assert workload.supervised.status().status is Status.RUNNING
        assert len(processes.leftovers(workload.id)) == 1
        workload.supervised.stop(signal.SIGTERM, 10)
        outcome = workload.supervised.status().outcome
        assert outcome is not None
        assert outcome.signal == signal.SIGTERM


def test_cleaning_leaves_a_start_alone_that_is_under_way(workload: Workload) -> None:
    place = Place(workload.folder)
    place.make_room(workload.id)
    process = subprocess.Popen(["sleep", "1000"], env={MARKER: workload.id, "PATH": os.environ["PATH"]})
    try:
        while not processes.leftovers(workload.id):
            time.sleep(0.01)
        workload.supervised.clean()
        assert process.poll() is None
        place.leave(Outcome(code=0))
        (workload.folder / LOCK_FILE).write_bytes(b"as a killed supervisor leaves it")
        workload.supervised.clean()
        assert process.wait(20) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


def test_what_survives_sigkill_is_named(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    (workload.folder / LOCK_FILE).write_bytes(b"as a killed supervisor leaves it")
    process = subprocess.Popen(["sleep", "1000"], env={MARKER: workload.id, "PATH": os.environ["PATH"]})
    try:
        # No test can make a process that outlives SIGKILL: this one does not get it.
        monkeypatch.setattr(processes, "send", lambda *_: True)
        with pytest.raises(TimedOut, match=str(process.pid)):
            workload.supervised.stop(signal.SIGTERM, 0)
    finally:
        monkeypatch.undo()
        process.kill()
        process.wait()


@pytest.mark.parametrize("timeout", [9_999_999.0, float("inf")])
def test_a_stop_may_have_any_timeout(workload: Workload, timeout: float) -> None:
    workload.start("sh", "-c", "trap 'sleep 0.3; exit 7' TERM; echo ready; while :; do sleep 0.1; done")
    while workload.log() != [b"ready"]:
        time.sleep(0.01)
    workload.supervised.stop(signal.SIGTERM, timeout)
    assert workload.supervised.wait(timeout).code == 7


def test_an_end_is_seen_whole_at_every_moment(workload: Workload) -> None:
    """Nobody who asks while it ends hears that it was lost."""
    for _ in range(20):
        workload.start("true")
        while workload.supervised.status().status is Status.RUNNING:
            pass
        outcome = workload.supervised.status().outcome
        assert outcome is not None
        assert outcome.result == "exited"


def test_an_outcome_that_comes_while_somebody_looks_is_told(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written, and its supervisor goes, after the look for an outcome and before the one at the process."""
    workload.start("sleep", "1000")
    find = OUTCOMES.find

    def find_too_early(path: Path) -> Outcome | None:
        found = find(path)
        workload.supervised.stop(signal.SIGTERM, 10)
        while processes.is_same_process(supervisor.pid, supervisor.start):
            time.sleep(0.01)
        return found

    supervisor = processes.find_stat(workload.supervisor())
    assert supervisor is not None
    monkeypatch.setattr(OUTCOMES, "find", find_too_early)
    status = workload.supervised.status()
    assert (status.status, status.note) == (Status.RUNNING, "")
    monkeypatch.undo()
    assert workload.supervised.status().status is Status.STOPPED


@pytest.mark.parametrize("error", [BrokenPipeError, ConnectionResetError])
def test_a_supervisor_that_ends_while_it_is_asked_has_ended(
    workload: Workload, monkeypatch: pytest.MonkeyPatch, error: type[ConnectionError]
) -> None:
    workload.start("sleep", "1000")
    client = Supervised(workload.folder, workload.id, "it")
    find = control.find_supervisor

    class Reset(control.Connection):
        def send(self, message: object, fds: object = ()) -> None:
            monkeypatch.setattr(control, "find_supervisor", find)
            workload.supervised.stop(signal.SIGTERM, 10)
            raise error

    def find_reset(folder: Path) -> control.Connection | None:
        connection = find(folder)
        return Reset(connection.sock) if connection else None

    process = Process.of(["true"], {"PATH": os.environ["PATH"]})

    def exec_is_refused() -> None:
        with Pipes() as pipes, pytest.raises(WrongState, match="ended"):
            client.exec(process, pipes.streams)

    asks: list[Callable[[], object]] = [
        exec_is_refused,
        lambda: client.stop(signal.SIGTERM, 10),
        lambda: client.wait(10),
    ]
    for ask in asks:
        if workload.supervised.status().status is not Status.RUNNING:
            workload.start("sleep", "1000")
        monkeypatch.setattr(control, "find_supervisor", find_reset)
        ask()
        outcome = workload.supervised.status().outcome
        assert outcome is not None
        assert outcome.signal == signal.SIGTERM


def is_free(folder: Path) -> bool:
    with claim(folder) as free:
        return free


def test_a_power_cut_leaves_a_run_that_was_lost(workload: Workload) -> None:
    """The record is not synced: afterwards it may be empty. The outcome of the run before is not this one's."""
    for _ in range(2):
        workload.start("true")
        assert workload.supervised.wait(20).code == 0
    workload.start("sleep", "1000")
    os.kill(workload.supervisor(), signal.SIGKILL)
    # What counts as ended may hold its lock a little longer; a power cut leaves no process on its way out.
    while not is_free(workload.folder):
        time.sleep(0.01)
    (workload.folder / "supervisor.json").write_bytes(b"")
    status = workload.supervised.status()
    assert status.status is Status.FAILED
    assert status.outcome is not None
    assert status.outcome.result == "lost"


def test_a_supervisor_that_was_killed_before_its_record_is_lost(workload: Workload) -> None:
    place = Place(workload.folder)
    place.make_room(workload.id)
    assert workload.supervised.status().status is Status.CREATED
    place.leave(Outcome(code=0))
    script = (
        "import pathlib, sys; from volt_core.supervisor.place import Place; "
        "Place(pathlib.Path(sys.argv[1])).make_room('id')"
    )
    subprocess.run([sys.executable, "-c", script, str(workload.folder)], check=True)
    assert workload.supervised.status().status is Status.FAILED
    workload.start("true")
    assert workload.supervised.wait(20).code == 0


def test_the_death_of_what_watches_the_payload_is_not_the_payloads(workload: Workload) -> None:
    workload.start("bash", "-c", "sleep 1000 & echo pid $! >&$0; kill -KILL $$", STATUS_FD)
    outcome = workload.supervised.wait(20)
    assert (outcome.code, outcome.signal, outcome.result) == (None, None, "lost")
    assert "signal 9" in outcome.reason
    assert processes.leftovers(workload.id) == []


def test_a_command_may_have_any_words(workload: Workload) -> None:
    script = 'echo pid $$ >&$0; echo "$@"; echo exit 0 >&$0'
    workload.start("bash", "-c", script, STATUS_FD, STATUS_FD, "x")
    assert workload.supervised.wait(20).code == 0
    assert workload.log() == [STATUS_FD.encode() + b" x"]
