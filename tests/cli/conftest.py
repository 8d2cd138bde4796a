"""Instances of Volt for the command line's tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from volt_core import fs
from volt_core.api import Volt
from volt_core.testing import host
from volt_core.testing.command import Command
from volt_core.testing.hosts import inside


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
