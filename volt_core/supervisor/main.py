"""The supervisor process: one loop over its clients, its children's reports and their ends.

Started by :func:`volt_core.supervisor.client.launch` in a session of its own, with one end of a connection
on an inherited descriptor; the first request on it is Start. All but the streams happens in the main
thread. The order at the end is: processes gone, log whole, ``outcome.json`` written, socket and lock given
up, watchers told; only a caller who is slow to take his output keeps the supervisor beyond that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Container
from pathlib import Path

import msgspec

from volt_core import processes
from volt_core.errors import VoltError, WrongState
from volt_core.models.outcome import VOLT_FAILED, Outcome
from volt_core.supervisor import control
from volt_core.supervisor.job import Job, reap
from volt_core.supervisor.log import LogWriter
from volt_core.supervisor.model import (
    Answer,
    Ended,
    Exec,
    Failed,
    Launch,
    Process,
    Request,
    Resize,
    Signal,
    Start,
    Started,
    Stop,
    Watch,
)
from volt_core.supervisor.mounts import become_subreaper, enter_private
from volt_core.supervisor.place import Place
from volt_core.supervisor.streams import Event

_SWEEP_SECONDS = 0.01
_LONGEST_PAUSE = 3600.0  # epoll counts milliseconds in 31 bits
_GRACE = 0.5
"""Seconds that a reporting process has to end by itself, once all below it is gone, and to clean up."""


class Session(msgspec.Struct, kw_only=True, eq=False):
    """A job and the connection that asked for it, until the caller leaves."""

    job: Job
    client: control.Connection | None
    told: bool = False
    """Whether the client knows that it started."""


class Supervisor:
    """The state of the loop."""

    def __init__(self, launch: Launch, place: Place, first: control.Connection, streams: list[int]) -> None:
        self._launch = launch
        self._place = place
        self._log = LogWriter(Path(launch.log))
        self._wake = Event()
        self._selector = selectors.DefaultSelector()
        self._watchers: set[control.Connection] = set()
        self._sessions: list[Session] = []
        self._running: dict[int, Job] = {}
        """By the number of our own child; until that is reaped."""
        self._told_to_end = False
        """By SIGTERM; the handler does no more, since it may interrupt anything."""
        self._deadline: float | None = None
        """Monotonic time at which everything gets SIGKILL."""
        self._killing_since: float | None = None
        self._childless = False
        self._outcome: Outcome | None = None
        """Once it is on disk and the next supervisor may come."""
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        """For whoever connects when there is no other descriptor."""
        self._listener = self._place.listen()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake.fd, selectors.EVENT_READ, self._wake.clear)
        self._catch_signals()
        self._add_client(first)
        self._main = self._begin(launch.process, streams, first, log=self._log)

    def run(self) -> None:
        """Serve until the workload has ended and every caller has all of its output."""
        try:
            self._serve_all()
        except Exception as error:
            traceback.print_exception(error)
            if self._outcome is None:
                self._give_up(f"its supervisor failed: {error!r}")

    def _serve_all(self) -> None:
        while self._outcome is None or self._sessions:
            self._reap()
            if self._told_to_end:
                self._told_to_end = False
                self._stop(self._launch.stop_signal, self._launch.stop_timeout)
            self._tell_starts()
            if self._main.ended or self._is_due():
                self._sweep()
            if self._childless and self._outcome is None:
                self._retire()
            self._tell_ends()
            ready = [key for key, _ in self._selector.select(self._pause())]
            # Those who have hung up go first: their descriptors are what a newcomer may need.
            for key in sorted(ready, key=lambda key: key.fileobj is self._listener):
                act: Callable[[], object] = key.data
                act()

    # Clients

    def _accept(self) -> None:
        try:
            self._add_client(control.accept(self._listener))
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED):
                raise
            # He waits, or would be told of for ever: take him with the spare descriptor, and hang up.
            os.close(self._spare)
            with contextlib.suppress(OSError):
                control.accept(self._listener).close()
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _add_client(self, client: control.Connection) -> None:
        self._selector.register(client, selectors.EVENT_READ, lambda: self._serve(client))

    def _serve(self, client: control.Connection) -> None:
        try:
            request, fds = client.receive_request()
        except (OSError, msgspec.DecodeError):
            request, fds = None, []
        if request is None:
            self._lose(client)
        elif isinstance(request, Exec):
            self._exec(client, fds)
        else:
            control.close_all(fds)
            self._obey(client, request)

    def _obey(self, client: control.Connection, request: Request) -> None:
        session = next((session for session in self._sessions if session.client is client), None)
        if isinstance(request, Signal) and session:
            session.job.signal(request.number)
        elif isinstance(request, Resize) and session:
            session.job.resize(request.rows, request.columns)
        elif isinstance(request, Watch | Stop):
            self._watchers.add(client)
            if self._outcome is not None:
                self._tell(client, Ended(outcome=self._outcome))
            elif isinstance(request, Stop):
                self._stop(request.signal, request.timeout)

    def _exec(self, client: control.Connection, fds: list[int]) -> None:
        try:
            process = control.from_memfd(fds.pop(0), Process)
        except (IndexError, msgspec.DecodeError):
            process = None
        if process is None or len(fds) != (1 if process.tty else 3):
            control.close_all(fds)
            self._lose(client)
        elif self._main.ended or self._killing_since is not None:
            control.close_all(fds)
            self._tell(client, Failed(code=VOLT_FAILED, reason="it is ending"))
        else:
            self._begin(process, fds, client, log=None)

    def _lose(self, client: control.Connection) -> None:
        """The client has hung up. A workload goes on without its caller; an exec loses its terminal."""
        self._selector.unregister(client)
        client.close()
        self._watchers.discard(client)
        for session in self._sessions:
            if session.client is client:
                session.client = None
                session.job.abandon()
                if session.job is not self._main and session.job.has_terminal:
                    session.job.signal(signal.SIGHUP)

    def _tell(self, client: control.Connection | None, answer: Answer | None) -> None:
        if client is not None and answer is not None:
            with contextlib.suppress(OSError):
                client.send(answer)

    # Jobs

    def _begin(self, process: Process, streams: list[int], client: control.Connection, *, log: LogWriter | None) -> Job:
        job = Job(process, streams, log=log, wake=self._wake, invocation=self._launch.invocation if log else "")
        self._sessions.append(Session(job=job, client=client))
        if job.spawned_pid is not None:
            self._running[job.spawned_pid] = job
        if job.status_fd is not None:
            self._selector.register(job.status_fd, selectors.EVENT_READ, lambda: self._read_report(job))
        return job

    def _read_report(self, job: Job) -> None:
        if job.read_report():
            self._forget_report(job)

    def _forget_report(self, job: Job) -> None:
        if job.status_fd is not None:
            self._selector.unregister(job.status_fd)
            job.close_report()

    def _reap(self) -> None:
        reaped, self._childless = reap()
        for pid, status in reaped:
            job = self._running.pop(pid, None)
            if job is not None:
                self._read_report(job)
                job.take_exit(status)

    def _tell_starts(self) -> None:
        for session in self._sessions:
            job = session.job
            if not session.told and job.pid is not None:
                session.told = True
                if job is self._main:
                    self._place.write_record(job.pid, job.started_at, self._launch.invocation)
                self._tell(session.client, Started(pid=job.pid))

    def _tell_ends(self) -> None:
        """Let go of the jobs that have ended and whose output has all been taken."""
        for session in tuple(self._sessions):
            job = session.job
            if not job.ended or (job is self._main and self._outcome is None):
                continue
            job.drain()
            if not all(pump.flushed.is_set() for pump in job.pumps):
                continue
            self._forget_report(job)
            job.close()
            self._tell(session.client, job.failure or (Ended(outcome=job.outcome) if job.outcome else None))
            self._sessions.remove(session)

    # The end

    def _stop(self, number: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)
        if timeout > 0:
            self._main.signal(number)
            # A stopped process would meet the signal only when somebody lets it go on.
            self._main.signal(signal.SIGCONT)

    def _is_due(self) -> bool:
        return self._killing_since is not None or (self._deadline is not None and time.monotonic() >= self._deadline)

    def _pause(self) -> float | None:
        """Return how long the loop may sleep."""
        if self._outcome is not None:
            return None if self._sessions else 0.0
        if self._killing_since is not None or self._main.ended:
            return _SWEEP_SECONDS
        if self._deadline is None:
            return None
        return min(max(0.0, self._deadline - time.monotonic()), _LONGEST_PAUSE)

    def _sweep(self) -> None:
        """Kill everything: what is left when the payload has ended, or the payload itself when it must."""
        if self._childless:
            return
        if self._killing_since is None:
            self._killing_since = time.monotonic()
            for job in self._running.values():
                job.expect_kill()
        patient = {
            pid for pid, job in self._running.items() if job.reports and time.monotonic() - self._killing_since < _GRACE
        }
        # Where it has a guard, it is that one's first child.
        patient |= {child for pid in patient if (child := processes.first_child(pid)) is not None}
        _kill_descendants(but=patient)

    def _retire(self) -> None:
        """No process is left: finish the log, keep the outcome, make room for the next run."""
        for session in self._sessions:
            session.job.drain()
        for pump in self._main.pumps:
            pump.logged.wait()
        self._log.close()
        self._publish(self._main.outcome or self._lost("its end was not seen"))

    def _give_up(self, reason: str) -> None:
        """The loop has failed: nothing may go on that nobody looks after, nor may anybody wait for it."""
        # What follows opens one file at a time, and perhaps there was no other descriptor left.
        os.close(self._spare)
        while not reap()[1]:
            _kill_descendants()
            time.sleep(_SWEEP_SECONDS)
        self._publish(self._main.outcome or self._lost(reason))

    def _lost(self, reason: str) -> Outcome:
        return Outcome(
            result="lost",
            reason=reason,
            started=self._main.started_at,
            finished=time.time_ns(),
            invocation=self._launch.invocation,
        )

    def _publish(self, outcome: Outcome) -> None:
        """Keep the outcome and tell those who wait for it."""
        self._outcome = outcome
        _let_go_of_stderr()
        # Before the listener closes: whoever then finds nobody to ask finds the outcome.
        self._place.leave(self._outcome)
        self._selector.unregister(self._listener)
        self._listener.close()
        for client in self._watchers:
            self._tell(client, Ended(outcome=self._outcome))

    def _catch_signals(self) -> None:
        """Take signals as events; with handlers rather than ignored, for children would inherit that."""
        # The caller may have blocked some, which is inherited as well.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._selector.register(read, selectors.EVENT_READ, lambda: os.read(read, 4096))
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._note_sigterm())

    def _note_sigterm(self) -> None:
        self._told_to_end = True


def _kill_descendants(*, but: Container[int] = ()) -> None:
    targets = [stat.pid for stat in processes.descendants(os.getpid()) if stat.alive and stat.pid not in but]
    # Stopped first, so that none of them forks away while the others are being killed.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in targets:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _let_go_of_stderr() -> None:
    """It is a file in the folder, which whoever was waiting may now want to remove or unmount."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 2)
    os.close(null)


def main() -> None:
    """Run the supervisor; ``sys.argv[1]`` is the descriptor of its first connection."""
    first = control.adopt(int(sys.argv[1]))
    # The first process goes at once, so that its parent need not wait for a child that lives long.
    if os.fork() > 0:
        os._exit(0)
    os.umask(0o022)
    request, fds = first.receive_request()
    if not isinstance(request, Start) or not fds:
        raise SystemExit("the first request must be Start")
    if first.is_left():
        return  # whoever wanted it was killed, and what he began may be cleared away by now
    try:
        launch = control.from_memfd(fds[0], Launch)
        place = Place(Path(launch.folder))
    except (OSError, msgspec.DecodeError, VoltError) as error:
        first.send(Failed(code=VOLT_FAILED, reason=str(error), busy=isinstance(error, WrongState)))
        return
    try:
        place.make_room(launch.id)
        become_subreaper()
        if launch.mounts:
            enter_private(launch.mounts)
        supervisor = Supervisor(launch, place, first, fds[1:])
    except (OSError, VoltError) as error:
        now = time.time_ns()
        place.leave(
            Outcome(result="not-started", reason=str(error), started=now, finished=now, invocation=launch.invocation)
        )
        first.send(Failed(code=VOLT_FAILED, reason=str(error)))
        return
    supervisor.run()
