"""The fakes' host: what runs for a workload, with its log and its outcome, in this process's memory."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from volt_core.contracts import LogRecord, Streams
from volt_core.models.outcome import Outcome
from volt_core.testing.programs import Place, Program

Stream = Literal["stdout", "stderr", "console"]


class Log:
    """A log of lines that can be followed."""

    def __init__(self, *, console: bool = False) -> None:
        self.changed = threading.Condition()
        self.invocation = ""
        """Of the run that writes."""
        self._console = console
        self._records: list[LogRecord] = []
        self._begun: dict[Stream, bytes] = {}

    def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Add output; what does not end a line waits for the rest of it."""
        name: Stream = "console" if self._console else stream
        with self.changed:
            *lines, rest = (self._begun.pop(name, b"") + data).split(b"\n")
            self._records += [self._record(name, line) for line in lines]
            if rest:
                self._begun[name] = rest
            self.changed.notify_all()

    def flush(self) -> None:
        """The writer is gone: an unfinished line is a record of its own now."""
        with self.changed:
            self._records += [self._record(stream, rest, partial=True) for stream, rest in self._begun.items()]
            self._begun.clear()
            self.changed.notify_all()

    def read(
        self, *, tail: int | None, since: int, until: int = 0, invocation: str | None = None
    ) -> tuple[list[LogRecord], int]:
        """Return the records asked for, and the position behind them."""
        with self.changed:
            records = [
                record
                for record in self._records
                if since < record.time <= (until or record.time) and invocation in (None, record.invocation)
            ]
            return records[max(0, len(records) - tail) :] if tail is not None else records, len(self._records)

    def read_from(self, position: int) -> Sequence[LogRecord]:
        """Return the records from `position` on; waits a moment if there is none yet."""
        with self.changed:
            if len(self._records) == position:
                self.changed.wait(0.1)
            return self._records[position:]

    def _record(self, stream: Stream, data: bytes, *, partial: bool = False) -> LogRecord:
        return LogRecord(time=time.time_ns(), stream=stream, data=data, partial=partial, invocation=self.invocation)


class Run:
    """One run of a workload: its first program, and those that exec added."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.started = time.time_ns()
        self.outcome: Outcome | None = None
        self.frozen = False
        self.ended = threading.Event()
        self.main: Program | None = None
        self._invocation = log.invocation = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._others: list[Program] = []

    @property
    def active(self) -> bool:
        """Whether programs of it run."""
        return not self.ended.is_set()

    @property
    def tasks(self) -> int:
        """How many programs run."""
        return sum(program.is_alive() for program in (self.main, *self._others) if program is not None)

    def begin(self, command: Sequence[str], place: Place, streams: Streams | None) -> None:
        """Start the first program; a thread writes the outcome when it ends."""
        self.main = self._program(command, place, streams, _Outputs(self.log, streams))
        self.main.start()
        threading.Thread(target=self._finish, args=(self.main,), daemon=True).start()

    def refuse(self, code: int, reason: str) -> Outcome:
        """Note that the command could not be started."""
        now = time.time_ns()
        self.outcome = Outcome(
            code=code, result="not-started", reason=reason, started=self.started, finished=now,
            invocation=self._invocation,
        )  # fmt: skip
        self.ended.set()
        return self.outcome

    def exec(self, command: Sequence[str], place: Place, streams: Streams | None) -> Program:
        """Start one more program; it does not outlive the first."""
        program = self._program(command, place, streams, _Outputs(None, streams))
        with self._lock:
            self._others.append(program)
            program.start()
            if self.main is None or not self.main.is_alive():
                program.send(signal.SIGKILL)
        return program

    def set_frozen(self, frozen: bool) -> None:
        """Freeze or thaw all programs."""
        self.frozen = frozen
        with self._lock:
            for program in (self.main, *self._others):
                if program is not None:
                    program.set_frozen(frozen)

    def _program(self, command: Sequence[str], place: Place, streams: Streams | None, outputs: _Outputs) -> Program:
        stdin = streams.stdin if streams else None
        return Program(
            command,
            stdin=stdin,
            emit=outputs.write,
            place=place,
            spawn=lambda child: self.exec(child, place, None),
        )

    def _finish(self, main: Program) -> None:
        main.join()
        with self._lock:
            others = tuple(self._others)
        for program in others:
            program.send(signal.SIGKILL)
            program.join()
        self.log.flush()
        self.outcome = Outcome(
            code=main.code,
            signal=main.signal,
            result="exited" if main.signal is None else "signaled",
            started=self.started,
            finished=time.time_ns(),
            invocation=self._invocation,
        )
        self.ended.set()


class Host:
    """What all fake backends of this process run, by the workload's folder."""

    runs: ClassVar[dict[Path, Run]] = {}
    logs: ClassVar[dict[Path, Log]] = {}
    past: ClassVar[dict[Path, list[Log]]] = {}
    """Logs of deleted workloads, by the directory of their folders."""

    @classmethod
    def forget(cls, folder: Path) -> None:
        """Drop what is known of a workload, all but its log."""
        cls.runs.pop(folder, None)
        if folder in cls.logs:
            cls.past.setdefault(folder.parent, []).append(cls.logs.pop(folder))

    @classmethod
    def all_logs(cls, directory: Path) -> list[Log]:
        """Return the logs of all workloads whose folders are, or were, in a directory."""
        present = [log for folder, log in cls.logs.items() if folder.parent == directory]
        return [*present, *cls.past.get(directory, ())]

    @classmethod
    def move(cls, old: Path, new: Path) -> None:
        """The workload's folder has another name now."""
        if old in cls.runs:
            cls.runs[new] = cls.runs.pop(old)
        if old in cls.logs:
            cls.logs[new] = cls.logs.pop(old)


def wait_forwarding(program: Program, events: int | None) -> None:
    """Wait for the end of a program, and pass the signals on that arrive on `events` meanwhile."""
    while program.is_alive():
        if events is None:
            program.join()
        elif select.select([events], [], [], 0.01)[0]:
            numbers = os.read(events, 64)
            for number in numbers:
                program.send(number)
            if not numbers:
                events = None


class _Outputs:
    """Writes a program's output to its caller's descriptors, or to the log, or to both."""

    def __init__(self, log: Log | None, streams: Streams | None) -> None:
        self._log = log
        self._streams = streams

    def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        if self._log is not None:
            self._log.write(stream, data)
        if self._streams is not None:
            merged = stream == "stdout" or self._streams.tty
            view = memoryview(data)
            while view:
                view = view[os.write(self._streams.stdout if merged else self._streams.stderr, view) :]
