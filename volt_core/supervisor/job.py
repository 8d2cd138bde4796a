"""One process that the supervisor started: its spawn, its reports, its streams and its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import termios
import time
from collections.abc import Sequence

from volt_core import native, processes, run
from volt_core.errors import BackendUnavailable
from volt_core.models.outcome import CANNOT_EXECUTE, COMMAND_NOT_FOUND, VOLT_FAILED, Outcome
from volt_core.supervisor.log import LogWriter
from volt_core.supervisor.model import STATUS_FD, Failed, Process, Stream
from volt_core.supervisor.streams import Event, InputPump, OutputPump

_REPORT_SIZE = 4096
_PDEATHSIG = ("setpriv", "--pdeathsig", "KILL", "--")


class Job:
    """A process and its streams.

    `streams` are descriptors that it takes over: none for a detached run, one (the caller's side of the
    terminal) with a tty, else three. Without a log they become the process's own.

    Must be created in the main thread: the kernel ties the parent-death signal to the thread that forks.
    """

    def __init__(
        self, process: Process, streams: Sequence[int], *, log: LogWriter | None, wake: Event, invocation: str = ""
    ) -> None:
        self.pid: int | None = None
        """The payload's first process: the one that signals go to."""
        self.failure: Failed | None = None
        self.outcome: Outcome | None = None
        """How the payload ended, once it has."""
        self.status_fd: int | None = None
        self.pumps: list[OutputPump] = []
        self.started_at = time.time_ns()
        self._process = process
        self._log = log
        self._wake = wake
        self._invocation = invocation
        self._master: int | None = None
        self._report = b""
        self._early: list[int] = []
        self._finished = 0
        self._spawned: run.Process[bytes] | None = None
        self._killed = False
        try:
            self._spawn(list(streams))
        # ValueError: an argument, a variable or the directory holds a NUL.
        except (OSError, ValueError, BackendUnavailable) as error:
            self._fail(VOLT_FAILED, str(error))

    @property
    def spawned_pid(self) -> int | None:
        """Number of our own child, the payload's ancestor or the payload itself."""
        return self._spawned.pid if self._spawned else None

    @property
    def reports(self) -> bool:
        """Whether it tells of its payload, and so outlives it."""
        return self._process.reports

    @property
    def has_terminal(self) -> bool:
        """Whether it runs on a pseudo terminal of its own."""
        return self._master is not None

    @property
    def ended(self) -> bool:
        """Whether the payload has ended, or will never run."""
        return self.outcome is not None

    def signal(self, number: int) -> None:
        """Send a signal to the payload's first process, once it is known; nothing happens if it has ended."""
        if self.pid is None:
            # Somebody may answer its first output, which is faster than the report that it runs.
            self._early.append(number)
        elif not self.ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def expect_kill(self) -> None:
        """All its processes are about to get SIGKILL, those that would report it too."""
        self._killed = True

    def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size; the kernel tells the processes on it."""
        if self._master is not None:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def read_report(self) -> bool:
        """Take in what ``init`` says; True when it will say no more."""
        if self.status_fd is None:
            return True
        try:
            data = os.read(self.status_fd, _REPORT_SIZE)
        except BlockingIOError:
            return False
        *lines, self._report = (self._report + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                self._take_report(line.decode("utf-8", "replace"))
        return not data

    def take_exit(self, status: int) -> None:
        """The process that was spawned was reaped with this wait status."""
        code = os.waitstatus_to_exitcode(status)
        if self._spawned is not None:
            self._spawned.returncode = code
        if self.outcome is not None:
            return
        if self._process.reports and self.pid is None:
            self._fail(VOLT_FAILED, f"'{os.fsdecode(self._process.argv[0])}' {_how(code)} before it ran the command")
        elif self._killed:
            self._end(signal=signal.SIGKILL)
        elif self._process.reports:
            self._finish(result="lost", reason=f"the process that watched the command {_how(code)}")
        elif code < 0:
            self._end(signal=-code, core_dumped=os.WCOREDUMP(status))
        else:
            self._end(code=code)

    def drain(self) -> None:
        """All its processes are gone: let the streams end."""
        for pump in self.pumps:
            pump.drain()

    def abandon(self) -> None:
        """The caller is gone: only the log counts from now on."""
        for pump in self.pumps:
            pump.abandon()

    def close(self) -> None:
        """Free descriptors and threads once the streams have ended."""
        self.close_report()
        for pump in self.pumps:
            pump.close()
        if self._master is not None:
            os.close(self._master)
            self._master = None

    def close_report(self) -> None:
        """Stop listening to ``init``."""
        if self.status_fd is not None:
            os.close(self.status_fd)
            self.status_fd = None

    def _take_report(self, line: str) -> None:
        """Take in one line. Raises ValueError for what is no report."""
        word, _, rest = line.partition(" ")
        if word == "pid":
            # Where it has ended at once, signals go to whoever still tells of it.
            self.pid = processes.find_inside(int(rest), self.spawned_pid or 0) or self.spawned_pid
            for early in self._early:
                self.signal(early)
        elif word == "exit":
            self._end(code=int(rest))
        elif word == "signal":
            number, _, core = rest.partition(" ")
            self._end(signal=int(number), core_dumped=core == "core")
        elif word == "fail":
            code, _, reason = rest.split(" ", 2)
            self._fail(int(code), reason)

    def _fail(self, code: int, reason: str) -> None:
        words = {COMMAND_NOT_FOUND: "command not found: ", CANNOT_EXECUTE: "command cannot be executed: "}
        before = "" if reason.startswith("working directory '") else words.get(code, "")
        self.failure = Failed(code=code, reason=before + reason)
        self._finish(code=code if code in words else None, result="not-started", reason=self.failure.reason)

    def _end(self, *, code: int | None = None, signal: int | None = None, core_dumped: bool = False) -> None:
        if signal is not None:
            self._finish(signal=signal, core_dumped=core_dumped, result="signaled")
        else:
            self._finish(code=code)

    def _finish(self, **how: object) -> None:
        if self.outcome is None:
            self.outcome = Outcome(
                started=self.started_at,
                finished=time.time_ns(),
                invocation=self._invocation,
                **how,  # type: ignore[arg-type]
            )

    def _spawn(self, streams: list[int]) -> None:
        report = self._open_report() if self._process.reports else None
        files: list[int] = []
        try:
            if self._process.tty:
                files = self._open_terminal(streams)
            elif self._log is None:
                files = streams
            else:
                files = self._open_pipes(streams)
            self._spawned = run.spawn(
                self._argv(report),
                env={os.fsdecode(name): os.fsdecode(value) for name, value in self._process.env},
                stdin=files[0],
                stdout=files[1],
                stderr=files[2],
                pass_fds=() if report is None else (report,),
                cwd=self._process.cwd,
            )
        finally:
            for fd in {*files, *(() if report is None else (report,))}:
                os.close(fd)
            # Also after a failure: they meet the end of their streams and let go of the caller's.
            for pump in self.pumps:
                pump.start()
        if not self._process.reports:
            self.pid = self._spawned.pid

    def _open_report(self) -> int:
        """Return the end of the pipe that ``init`` writes to."""
        self.status_fd, report = os.pipe()
        os.set_blocking(self.status_fd, False)
        return report

    def _argv(self, report: int | None) -> list[str]:
        argv = list(map(os.fsdecode, self._process.argv))
        if report is not None:
            # The first: what comes behind may be the user's own words.
            argv[argv.index(STATUS_FD)] = str(report)
        # Looked up here, for another program's own failure would look like the program's.
        argv[0] = run.need_program(argv[0])
        guard = native.program("guard") if self._process.reports else None
        if guard is not None:
            return [str(guard), str(os.getpid()), *argv]
        return [*(_PDEATHSIG if run.find_program(_PDEATHSIG[0]) else ()), *argv]

    def _open_terminal(self, streams: list[int]) -> list[int]:
        """Return the process's side of a new pseudo terminal, three times."""
        master, slave = os.openpty()
        self._master = master
        self.resize(*self._process.size)
        sink = None
        if streams:
            sink = streams[0]
            InputPump(os.dup(sink), master).start()
        self._add_pump(os.dup(master), "stdout", sink)
        return [slave, slave, slave]

    def _open_pipes(self, streams: list[int]) -> list[int]:
        """Return the process's input, and the write ends of pipes for its output."""
        stdin, *sinks = streams or [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)]
        files = [stdin]
        names: tuple[Stream, ...] = ("stdout", "stderr")
        for position, name in enumerate(names):
            read, write = os.pipe()
            self._add_pump(read, name, sinks[position] if sinks else None, break_on_epipe=True)
            files.append(write)
        return files

    def _add_pump(self, source: int, stream: Stream, sink: int | None, *, break_on_epipe: bool = False) -> None:
        self.pumps.append(
            OutputPump(source, log=self._log, stream=stream, sink=sink, wake=self._wake, break_on_epipe=break_on_epipe)
        )


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"


def reap() -> tuple[list[tuple[int, int]], bool]:
    """Reap all children that have ended, adopted ones too.

    Returns their numbers and wait statuses, and whether no child is left: for a subreaper, no descendant.
    """
    reaped: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return reaped, True
        if pid == 0:
            return reaped, False
        reaped.append((pid, status))
