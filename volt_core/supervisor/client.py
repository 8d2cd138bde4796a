"""What a backend calls to run a workload under a supervisor, and to find it again from another process."""

from __future__ import annotations

import contextlib
import functools
import os
import signal as signals
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from volt_core import processes, run
from volt_core.contracts.backend import StatsSample, Streams
from volt_core.errors import BackendError, StateCorrupt, StateError, TimedOut, VoltError, WrongState
from volt_core.models.outcome import VOLT_FAILED, Outcome
from volt_core.models.workload import Status, WorkloadStatus
from volt_core.supervisor import control
from volt_core.supervisor.attach import Conversation, stream_fds
from volt_core.supervisor.logreader import read_log
from volt_core.supervisor.model import (
    CRASH_FILE,
    LOCK_FILE,
    OUTCOME_FILE,
    RECORD_FILE,
    Answer,
    Ended,
    Exec,
    Failed,
    Launch,
    Process,
    Start,
    Started,
    Stop,
    SupervisorRecord,
    Watch,
)
from volt_core.supervisor.place import OUTCOMES, RECORDS, claim, find_marker

_ANSWER_SECONDS = 15.0
"""How much longer than asked a supervisor may take to stop a workload before it counts as stuck."""
_START_SECONDS = 60.0
_POLL_SECONDS = 0.005
_LONGEST_TIMEOUT = 1_000_000.0
_DETAIL_LINES = 6


class Supervised:
    """A workload under a supervisor, as seen from outside; keeps no state of its own.

    Args:
        folder: the workload's folder.
        workload_id: value of the marker in its processes' environment.
        name: for messages.
    """

    def __init__(self, folder: Path, workload_id: str, name: str) -> None:
        self._folder = folder
        self._id = workload_id
        self._name = name

    def check_inactive(self) -> None:
        """Raise :class:`WrongState` if it runs: for what a backend does before a start."""
        if self.status().status.active:
            raise self._is_running()

    def start(self, launch: Launch) -> None:
        """Run it detached; returns when the payload runs.

        Raises :class:`BackendError` if it cannot; then ``outcome.json`` says why.
        """
        began = time.time_ns()
        with contextlib.closing(self._launch(launch, ())) as connection:
            connection.sock.settimeout(_START_SECONDS)
            try:
                answer = connection.receive_answer()
            except TimeoutError:
                raise TimedOut(f"Cannot start '{self._name}': it did not begin within {_START_SECONDS:g} s") from None
        if isinstance(answer, Failed):
            raise self._start_error(launch, answer, began)
        if not isinstance(answer, Started | Ended):
            raise self._crash()

    def run_attached(self, launch: Launch, streams: Streams, started: Callable[[], None]) -> Outcome:
        """Run it with the caller's streams and wait for its end; as :meth:`start` if it cannot start.

        Calls `started` once, when it runs or turned out not to.
        """
        began = time.time_ns()
        with stream_fds(streams) as (fds, terminal):
            try:
                connection = self._launch(launch, fds)
            except BaseException:
                started()
                raise
            with contextlib.closing(connection):
                answer = Conversation(connection, streams, terminal, started).hold()
        if isinstance(answer, Ended):
            return answer.outcome
        if isinstance(answer, Failed):
            raise self._start_error(launch, answer, began)
        self._await_end()
        outcome = self.status().outcome
        if outcome is None or not self._folder.joinpath(RECORD_FILE).exists():
            raise self._crash()
        return outcome

    def exec(self, process: Process, streams: Streams) -> Outcome:
        """Run one more process under the same supervisor with the caller's streams, and wait for it."""
        connection = self._find() if self.status().status.active else None
        if connection is None:
            raise self._is_not_running("exec in")
        with contextlib.closing(connection), stream_fds(streams) as (fds, terminal):
            try:
                _send_described(connection, Exec(), process, fds)
            except ConnectionError:
                answer = None
            else:
                answer = Conversation(connection, streams, terminal).hold()
        if isinstance(answer, Ended):
            return answer.outcome
        if answer is None:
            end = self.status().outcome
            if end is not None and end.result != "lost":
                raise WrongState(f"Cannot exec in '{self._name}': it has ended")
            raise BackendError(f"'{self._name}' lost its supervisor while the command ran", hint=self._advice())
        if answer.code == VOLT_FAILED:
            raise BackendError(f"Cannot exec in '{self._name}': {answer.reason}")
        now = time.time_ns()
        return Outcome(code=answer.code, result="not-started", reason=answer.reason, started=now, finished=now)

    def status(self) -> WorkloadStatus:
        """Tell what is true now from two small files and ``/proc``."""
        while True:
            record = self._find_record()
            status = self._status_by(record)
            # If it ended meanwhile, or the next run began, this may be neither the old nor the new.
            if self._find_record() == record:
                return status

    def _status_by(self, record: SupervisorRecord | None) -> WorkloadStatus:
        # Looked at before the outcome: a supervisor writes that first, and then goes.
        runs = record is not None and _is_running(record)
        try:
            outcome = OUTCOMES.find(self._folder / OUTCOME_FILE)
        except StateError as error:
            if not runs:
                return _failed(_lost(record, error.brief))
            outcome = None  # of a former run: what runs now is yet to write its own
        if outcome is not None and (record is None or outcome.invocation == record.invocation):
            clean = outcome.clean and outcome.result != "not-started"
            return WorkloadStatus(
                status=Status.STOPPED if clean else Status.FAILED, started=outcome.started, outcome=outcome
            )
        if record is not None and runs:
            return WorkloadStatus(status=Status.RUNNING, pid=record.payload_pid, started=record.started)
        if record is None and not self._is_abandoned():
            return WorkloadStatus(status=Status.CREATED)
        return _failed(_lost(record, self._lost_reason()))

    def find_init(self) -> processes.Stat:
        """Return the process that started the payload and looks after it. Raises :class:`WrongState`."""
        record = self._find_record() if self.status().status.active else None
        payload = processes.find_stat(record.payload_pid) if record else None
        init = processes.find_stat(payload.parent) if payload else None
        # Looked at once more: its parent's number meant init all the while. And never is it ourselves, out on the host.
        still = record is not None and processes.is_same_process(record.payload_pid, record.payload_start)
        if record is None or init is None or not still or init.pid == record.pid:
            raise self._is_not_running("exec in")
        return init

    def send_signal(self, number: int) -> None:
        """Send a signal to the payload's first process. Raises :class:`WrongState` if it is not running."""
        record = self._find_record()
        if (
            record is None
            or not self.status().status.active
            or not processes.send(record.payload_pid, record.payload_start, number)
        ):
            raise WrongState(f"Cannot signal '{self._name}': it is not running")

    def stop(self, number: int, timeout: float) -> None:
        """Send the signal `number`, after `timeout` seconds SIGKILL to everything. Returns when nothing runs."""
        try:
            while self._ask(Stop(signal=number, timeout=timeout), timeout + _ANSWER_SECONDS) is None:
                self.clean()
                # What was about to begin runs now.
                if not self.status().status.active:
                    return
        except TimeoutError:
            self._kill_supervisor()
            self._await_end()
            self.clean()

    def wait(self, timeout: float | None = None) -> Outcome:
        """Block until it has ended. Raises :class:`TimedOut`, and :class:`WrongState` if it never ran."""
        try:
            self._ask(Watch(), timeout)
        except TimeoutError:
            raise TimedOut(f"'{self._name}' did not end within {timeout:g} s") from None
        outcome = self.status().outcome
        if outcome is None:
            raise WrongState(f"Cannot wait for '{self._name}': it was never started")
        return outcome

    def clean(self) -> None:
        """End what a killed supervisor left behind; nothing to do is success, and a supervisor at work is left alone.

        Raises :class:`TimedOut` if something does not end.
        """
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not _ended_cleanly(self._folder):
            with claim(self._folder) as is_free:
                # A caller who knows the name alone has no id.
                marker = self._id or find_marker(self._folder)
                remaining = processes.kill_leftovers(marker) if is_free else []
            if remaining:
                pids = ", ".join(map(str, remaining))
                raise TimedOut(
                    f"Cannot end what is left of '{self._name}': processes {pids} survive SIGKILL",
                    hint="They may wait for a device or a network file system that does not answer.",
                )
            record = self._find_record()
            # What was killed holds its lock until it is gone; what is about to begin will have a record, or be gone.
            if is_free or (record is not None and _is_running(record)) or time.monotonic() >= deadline:
                return
            time.sleep(_POLL_SECONDS)

    def stats(self) -> StatsSample:
        """Sum over its processes what ``/proc`` says. Raises :class:`WrongState` if it is not running."""
        record = self._find_record()
        if record is None or not self.status().status.active:
            raise WrongState(f"Cannot measure '{self._name}': it is not running")
        found = processes.descendants(record.pid)
        supervisor = processes.find_stat(record.pid)
        return StatsSample(
            # Those without a parent of their own were waited for by the supervisor.
            cpu_ns=sum(stat.cpu_ns + stat.reaped_cpu_ns for stat in found)
            + (supervisor.reaped_cpu_ns if supervisor else 0),
            memory_bytes=sum(stat.memory_bytes for stat in found),
            tasks=sum(stat.threads for stat in found if stat.alive),
        )

    def _find(self) -> control.Connection | None:
        try:
            return control.find_supervisor(self._folder)
        except FileNotFoundError:
            return None

    def _ask(self, request: Watch | Stop, timeout: float | None) -> Answer | None:
        """Return what the supervisor answers, or None when there is none any more.

        One with no descriptor left hangs up at once, and is asked again. Raises TimeoutError.
        """
        limit = _patience(timeout)
        deadline = None if limit is None else time.monotonic() + limit
        while (connection := self._find()) is not None:
            with contextlib.closing(connection), contextlib.suppress(ConnectionError):
                connection.sock.settimeout(deadline and max(_POLL_SECONDS, deadline - time.monotonic()))
                connection.send(request)
                answer = connection.receive_answer()
                if answer is not None:
                    return answer
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError
            time.sleep(_POLL_SECONDS)
        self._await_end()
        return None

    def _launch(self, launch: Launch, fds: tuple[int, ...]) -> control.Connection:
        """Start a supervisor and return the connection on which it answers."""
        self.check_inactive()
        self.clean()
        ours, theirs = control.pair()
        try:
            _send_described(ours, Start(), launch, fds)
            with open(self._folder / CRASH_FILE, "wb") as crash, open(os.devnull, "r+b") as null:
                extra = {name: os.environ[name] for name in ("PYTHONPATH", "PYTHONHOME") if name in os.environ}
                process = run.spawn(
                    # Its name is for whoever looks at a list of processes.
                    [sys.executable, "-P", "-m", "volt_core.supervisor", str(theirs.fileno()), self._name],
                    env=run.child_environment(extra),
                    stdin=null.fileno(),
                    stdout=null.fileno(),
                    stderr=crash.fileno(),
                    pass_fds=(theirs.fileno(),),
                    cwd="/",
                )
            theirs.close()
            process.wait()
        except BaseException:
            ours.close()
            theirs.close()
            raise
        return ours

    def _is_running(self) -> WrongState:
        return WrongState(f"Cannot start '{self._name}': it is running", hint=f"Stop it first: volt stop {self._name}")

    def _is_not_running(self, act: str) -> WrongState:
        return WrongState(f"Cannot {act} '{self._name}': it is not running", hint=f"Start it: volt start {self._name}")

    def _start_error(self, launch: Launch, failed: Failed, began: int) -> VoltError:
        if failed.busy:
            return self._is_running()
        said: list[bytes] = []
        with contextlib.suppress(OSError):
            said = [record.data for record in read_log(Path(launch.log), tail=_DETAIL_LINES, since=began)]
        details = b"\n".join(said).decode("utf-8", "replace")
        return BackendError(f"Cannot start '{self._name}': {failed.reason}", details=details or None)

    def _crash(self) -> BackendError:
        with contextlib.suppress(FileNotFoundError):
            said = (self._folder / CRASH_FILE).read_text(encoding="utf-8", errors="replace")
            return BackendError(f"The supervisor of '{self._name}' failed", details=said or None)
        return BackendError(f"The supervisor of '{self._name}' failed")

    def _await_end(self) -> None:
        """Wait, but not for ever, until a supervisor that has hung up is gone, or has left its outcome."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while self.status().status.active and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _kill_supervisor(self) -> None:
        record = self._find_record()
        if record is not None:
            processes.send(record.pid, record.pid_start, signals.SIGKILL)

    def _find_record(self) -> SupervisorRecord | None:
        try:
            return RECORDS.find(self._folder / RECORD_FILE)
        except StateCorrupt:
            # Not synced to disk on purpose: after a power cut it may be empty, and the lock tells that it ran.
            return None

    def _is_abandoned(self) -> bool:
        """Whether a supervisor has come as far as its lock, and went without leaving an outcome."""
        if _ended_cleanly(self._folder):
            return False
        with claim(self._folder) as is_free:
            return is_free and not _ended_cleanly(self._folder)

    def _lost_reason(self) -> str:
        crash = self._folder / CRASH_FILE
        cause = "its supervisor was killed or the machine went down"
        if crash.exists() and crash.stat().st_size:
            cause = f"its supervisor failed, see {crash}"
        return f"{cause}; {self._advice()}"

    def _advice(self) -> str:
        return f"'volt start {self._name}' and 'volt delete {self._name}' first end what it left"


def _lost(record: SupervisorRecord | None, reason: str) -> Outcome:
    return Outcome(
        result="lost",
        reason=reason,
        started=record.started if record else 0,
        invocation=record.invocation if record else "",
    )


def _failed(outcome: Outcome) -> WorkloadStatus:
    return WorkloadStatus(status=Status.FAILED, started=outcome.started, outcome=outcome, note=outcome.reason)


def _is_running(record: SupervisorRecord) -> bool:
    return record.boot_id == _boot_id() and processes.is_same_process(record.pid, record.pid_start)


@functools.cache
def _boot_id() -> str:
    return processes.boot_id()


def _patience(seconds: float | None) -> float | None:
    """Return a timeout that a socket takes; beyond its range there is none."""
    return seconds if seconds is None or seconds < _LONGEST_TIMEOUT else None


def _ended_cleanly(folder: Path) -> bool:
    """Whether the last supervisor gave its reserve back, or there was none."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / LOCK_FILE).stat().st_size == 0
    return True


def _send_described(
    connection: control.Connection, request: Start | Exec, description: msgspec.Struct, fds: tuple[int, ...]
) -> None:
    memfd = control.to_memfd(description)
    try:
        connection.send(request, (memfd, *fds))
    finally:
        os.close(memfd)
