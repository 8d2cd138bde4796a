"""The command line under test: in this process where that is enough, as a process where it matters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from volt_core import run
from volt_core.cli.exits import run_app


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
        self._capture = capture

    def __call__(self, *words: str) -> Said:
        """Run it in this process; standard input is not to be read."""
        self._capture.readouterr()
        status = run_app(words)
        return Said(status, *self._capture.readouterr())

    def ok(self, *words: str) -> str:
        """Run it, insist on success, and return what it printed."""
        said = self(*words)
        assert said.status == 0, said
        return said.out

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

    def start(self, *words: str, **options: object) -> run.Process[bytes]:
        """Start a process; the caller waits for it."""
        return run.Process(self.argv(*words), **options)  # type: ignore[call-overload, no-any-return]
