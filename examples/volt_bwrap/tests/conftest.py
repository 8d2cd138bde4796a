"""``volt`` with the plugin installed, on an instance that holds the image ``box``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import volt_bwrap
from volt_core.testing import host
from volt_core.testing.command import Command


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A path for Python on which the plugin is found as if pip had installed it."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "volt_bwrap-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: volt-bwrap\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text("[volt]\nbwrap = volt_bwrap.plugin\n")
    sources = Path(volt_bwrap.__file__).parents[1]
    return os.pathsep.join([str(site), str(sources), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="module")
def boxed_root(tmp_path_factory: pytest.TempPathFactory, busybox_root: Path) -> Path:
    """The root of an instance that holds the image."""
    from volt_core.api import Volt

    host.require("bwrap")
    root = tmp_path_factory.mktemp("boxed") / "root"
    Volt(root, environ={}).images.import_(str(busybox_root), "box")
    return root


@pytest.fixture
def box(
    boxed_root: Path, site: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """``volt``, to be run as a process; containers are removed afterwards."""
    monkeypatch.setenv("VOLT_ROOT", str(boxed_root))
    monkeypatch.setenv("PYTHONPATH", site)
    monkeypatch.setenv("VOLT_BACKEND", "bwrap")
    command = Command(boxed_root, capfd)
    yield command
    names = command.process("ps", "--all", "--quiet").stdout.split()
    if names:
        command.process("delete", "--force", *map(os.fsdecode, names))
