"""Programs without processes: a tiny language, and threads that run it for the fakes.

A command is words; ``;`` alone parts steps. The steps: ``exit CODE``, ``die SIGNAL``, ``sleep SECONDS``,
``ignore SIGNAL``, ``echo WORD…``, ``error WORD…`` (to stderr), ``write TEXT`` (no newline), ``cat`` (stdin to
stdout), ``env NAME``, ``pwd``; ``get PATH`` and ``add PATH LINE`` (files), ``leave PATH`` (a child that writes to the
file until it is killed), ``fork COUNT`` (says how many could be started), ``take BYTES`` (of memory), ``burn SECONDS``
(says how many hundredths of CPU time that were, and how many all in all; takes none). Any other first word is not found
(127); ``unexecutable`` is what 126 is for.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from volt_core.models.mount import Mount
from volt_core.models.outcome import CANNOT_EXECUTE, COMMAND_NOT_FOUND
from volt_core.models.resources import Resources

Emit = Callable[[Literal["stdout", "stderr"], bytes], None]
"""Takes output; raises BrokenPipeError when nobody reads it any more."""

# Their default action is to do nothing, or to stop and go on.
_HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP, signal.SIGTSTP}
_CHUNK = 65536


class _Ended(Exception):
    """Unwinds the thread of a program that exits or is killed."""

    def __init__(self, *, code: int | None = None, signal: int | None = None) -> None:
        super().__init__(code, signal)
        self.code = code
        self.signal = signal


class Place(NamedTuple):
    """Where a program runs: what it finds there, and what it may use."""

    env: Mapping[str, str] = {}
    working_dir: str = "/"
    root: Path | None = None
    mounts: tuple[Mount, ...] = ()
    resources: Resources = Resources()

    def file(self, path: str, *, write: bool = False) -> Path:
        """Return where on the host a file of it is. Raises OSError where there is none, or it may not be written."""
        for mount in self.mounts:
            if path.startswith(f"{mount.target}/"):
                if write and mount.read_only:
                    raise PermissionError(path)
                return Path(mount.source, path.removeprefix(f"{mount.target}/"))
        if self.root is None:
            raise FileNotFoundError(path)
        return self.root / path.lstrip("/")


class Program(threading.Thread):
    """One running program. `code` or `signal` is set once it has ended.

    `spawn` starts a child, which is not waited for.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int | None,
        emit: Emit,
        place: Place,
        spawn: Callable[[Sequence[str]], object],
    ) -> None:
        super().__init__(name=f"fake {' '.join(command)}", daemon=True)
        self.code: int | None = None
        self.signal: int | None = None
        self._command = tuple(command)
        self._stdin = stdin
        self._emit = emit
        self._place = place
        self._spawn = spawn
        self._changed = threading.Condition()
        self._ignored: set[int] = set()
        self._pending: list[int] = []
        self._frozen = False
        # A thread that waits for input must also hear of signals.
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    @staticmethod
    def refusal(command: Sequence[str]) -> int | None:
        """Return 126 or 127 if the command cannot be started, else None."""
        if command and command[0] == "unexecutable":
            return CANNOT_EXECUTE
        return None if command and command[0] in _STEPS else COMMAND_NOT_FOUND

    def run(self) -> None:
        """Run all steps; what follows the last one is exit 0."""
        try:
            for step in _split(self._command):
                self._check()
                if step[0] not in _STEPS:
                    self._leave(COMMAND_NOT_FOUND)
                _STEPS[step[0]](self, step[1:])
            self.code = 0
        except _Ended as ended:
            self.code, self.signal = ended.code, ended.signal
        except BrokenPipeError:
            self.signal = int(signal.SIGPIPE)
        except OSError as error:
            self._emit("stderr", f"{error}\n".encode())
            self.code = 1
        finally:
            with self._changed:
                os.close(self._wake_reader)
                os.close(self._wake_writer)
                self._wake_writer = -1

    def send(self, number: int) -> None:
        """Deliver a signal; one that is ignored, or comes too late, does nothing."""
        with self._changed:
            if self._wake_writer < 0 or number in _HARMLESS or number in self._ignored:
                return
            self._pending.append(int(number))
            self._changed.notify_all()
            with contextlib.suppress(BlockingIOError):
                os.write(self._wake_writer, b"!")

    def set_frozen(self, frozen: bool) -> None:
        """Stop at the next step, or go on."""
        with self._changed:
            self._frozen = frozen
            self._changed.notify_all()

    def _deadly(self) -> int | None:
        """The pending signal that takes effect now: a frozen program dies of SIGKILL alone."""
        if self._frozen:
            return signal.SIGKILL if signal.SIGKILL in self._pending else None
        return self._pending[0] if self._pending else None

    def _check(self) -> None:
        with self._changed:
            while (deadly := self._deadly()) is None and self._frozen:
                self._changed.wait()
        if deadly is not None:
            raise _Ended(signal=deadly)

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._deadly() is None and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
        self._check()

    def _cat(self) -> None:
        while self._stdin is not None:
            ready, _, _ = select.select([self._stdin, self._wake_reader], [], [])
            self._check()
            if self._stdin in ready:
                data = os.read(self._stdin, _CHUNK)
                if not data:
                    return
                self._emit("stdout", data)

    def _tick(self, path: str) -> None:
        self._ignored |= {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        while True:
            self._add(path, "tick")
            self._sleep(0.02)

    def _add(self, path: str, line: str) -> None:
        with self._place.file(path, write=True).open("a") as file:
            file.write(f"{line}\n")

    def _take(self, size: int) -> None:
        limit = self._place.resources.memory_max
        if limit is not None and size > limit:
            raise _Ended(signal=signal.SIGKILL)

    def _fork(self, count: int) -> None:
        limit = self._place.resources.tasks_max
        self._emit("stdout", f"{count if limit is None else min(count, limit - 1)}\n".encode())

    def _burn(self, seconds: int) -> None:
        cores = min(1.0, self._place.resources.cpu_quota or 1.0)
        self._emit("stdout", f"{100 * seconds * cores:.0f} {100 * seconds}\n".encode())

    def _leave(self, code: int) -> None:
        raise _Ended(code=code)

    def _die(self, number: int) -> None:
        raise _Ended(signal=number)


_STEPS: Mapping[str, Callable[[Program, Sequence[str]], object]] = {
    "exit": lambda program, words: program._leave(int(words[0])),
    "die": lambda program, words: program._die(int(words[0])),
    "sleep": lambda program, words: program._sleep(float(words[0])),
    "ignore": lambda program, words: program._ignored.add(int(words[0])),
    "echo": lambda program, words: program._emit("stdout", os.fsencode(" ".join(words)) + b"\n"),
    "error": lambda program, words: program._emit("stderr", " ".join(words).encode() + b"\n"),
    "write": lambda program, words: program._emit("stdout", os.fsencode(words[0])),
    "cat": lambda program, words: program._cat(),
    "env": lambda program, words: program._emit("stdout", os.fsencode(program._place.env.get(words[0], "")) + b"\n"),
    "pwd": lambda program, words: program._emit("stdout", program._place.working_dir.encode() + b"\n"),
    "get": lambda program, words: program._emit("stdout", program._place.file(words[0]).read_bytes()),
    "add": lambda program, words: program._add(*words),
    "leave": lambda program, words: program._spawn(("tick", *words)),
    "tick": lambda program, words: program._tick(words[0]),
    "fork": lambda program, words: program._fork(int(words[0])),
    "burn": lambda program, words: program._burn(int(words[0])),
    "take": lambda program, words: program._take(int(words[0])),
}


def _split(command: Sequence[str]) -> Iterator[list[str]]:
    step: list[str] = []
    for word in (*command, ";"):
        if word != ";":
            step.append(word)
        elif step:
            yield step
            step = []
