"""The command line under test: in this process where that is enough, as a process where it matters."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

from volt_core import run
from volt_core.cli.exits import run_app

_SECONDS = 20.0


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {_SECONDS:g} s"
        time.sleep(0.02)


class Said(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str


class Done(NamedTuple):
    """How a process ended and what it wrote."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Command:
    """Runs ``volt`` on one instance."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capture = capture

    def __call__(self, *words: str) -> Said:
        """Run it in this process; standard input is not to be read."""
        self.capture.readouterr()
        status = run_app(words)
        return Said(status, *self.capture.readouterr())

    def ok(self, *words: str) -> str:
        """Run it, insist on success, and return what it printed."""
        said = self(*words)
        assert said.status == 0, said
        return said.out

    def state(self, name: str) -> dict[str, Any]:
        """Return what inspect tells of the state of a workload."""
        state: dict[str, Any] = json.loads(self.ok("inspect", name))["items"][0]["state"]
        return state

    def argv(self, *words: str) -> list[str]:
        """Return the command line of a process."""
        return [sys.executable, "-P", "-m", "volt_core", *words]

    def process(self, *words: str, stdin: bytes = b"", timeout: float = 60) -> Done:
        """Run it as a process of its own, and return bytes."""
        with self.start(*words, stdin=run.PIPE, stdout=run.PIPE, stderr=run.PIPE) as child:
            try:
                out, err = child.communicate(stdin, timeout)
            except BaseException:
                child.kill()
                raise
        return Done(child.returncode, out, err)

    def together(self, *commands: Sequence[str]) -> list[Said]:
        """Run several at once, as children of this process, and wait for all."""
        with contextlib.ExitStack() as stack:
            files = [[stack.enter_context(tempfile.TemporaryFile()) for _ in range(2)] for _ in commands]
            children = [_fork(words, *map(_fileno, pair)) for words, pair in zip(commands, files, strict=True)]
            statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            said = [[_text(file) for file in pair] for pair in files]
        return [Said(status, *texts) for status, texts in zip(statuses, said, strict=True)]

    def start(self, *words: str, **options: object) -> run.Process[bytes]:
        """Start a process; the caller waits for it."""
        return run.Process(self.argv(*words), **options)  # type: ignore[call-overload, no-any-return]


def _fork(words: Sequence[str], out: int, err: int) -> int:
    """Run a command in a child, which has no need to load Python and Volt anew; return its pid."""
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        status = run_app(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _fileno(file: IO[bytes]) -> int:
    return file.fileno()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "backslashreplace")
