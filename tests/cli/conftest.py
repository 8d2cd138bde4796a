"""The command line on an instance of its own: in this process where that is enough, as a process where it matters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from volt_core import fs
from volt_core.api import Volt
from volt_core.cli.exits import run_app
from volt_core.testing import host
from volt_core.testing.hosts import inside


class Said(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str


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

    def process(self, *words: str, stdin: bytes = b"", timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run it as a process of its own, and return bytes."""
        return subprocess.run(self.argv(*words), input=stdin, capture_output=True, timeout=timeout, check=False)

    def start(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        """Start a process; the caller waits for it."""
        return subprocess.Popen(self.argv(*words), **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def volt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """``volt`` on an empty instance."""
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path / "root"))
    return Command(tmp_path / "root", capfd)


@pytest.fixture(scope="session")
def boxed_root(tmp_path_factory: pytest.TempPathFactory, busybox_root: Path) -> Path:
    """The root of an instance that holds the image ``box``."""
    if inside.suite_here() is None:
        host.require("proot")
    root = tmp_path_factory.mktemp("boxed") / "root"
    Volt(root, environ={}).images.import_(str(busybox_root), "box")
    return root


@pytest.fixture
def box(boxed_root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """``volt`` on the instance with the image ``box``; containers are removed afterwards."""
    monkeypatch.setenv("VOLT_ROOT", str(boxed_root))
    yield Command(boxed_root, capfd)
    workloads = Volt(boxed_root).workloads
    for item in workloads.all():
        workloads.delete(item.workload.name, force=True)
    for error in workloads.survey().damaged:
        pytest.fail(f"a damaged workload was left: {error}")


@pytest.fixture
def own_box(boxed_root: Path, volt: Command) -> Command:
    """An instance of its own with the image ``box``, for tests that damage it."""
    subprocess.run(["cp", "-a", "--", str(boxed_root), str(volt.root)], check=True)
    fs.remove_tree(volt.root / "lib" / "locks")
    return volt
