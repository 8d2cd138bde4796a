"""Containers on real systemd for the tests of this plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from volt_core import fs
from volt_core.contracts import BackendContext
from volt_core.paths import VoltPaths
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.workbench import BackendKit, Workbench
from volt_nspawn.backend import NspawnBackend


@pytest.fixture
def backend(paths: VoltPaths) -> NspawnBackend:
    """The backend with a store in memory."""
    return NspawnBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))


@pytest.fixture
def image(backend: NspawnBackend, busybox_root: Path) -> str:
    """Digest of a tree with busybox."""
    return backend.store.put_directory(busybox_root).digest


@pytest.fixture
def bench(backend: NspawnBackend, image: str) -> Iterator[Workbench]:
    """Makes containers and clears them away."""
    bench = Workbench(backend, BackendKit().make_spec, image, BackendKit.PATIENCE)
    yield bench
    bench.clear()


@pytest.fixture
def drop_in() -> Iterator[_DropIns]:
    """Adds to units by hand for the length of a test."""
    drop_ins = _DropIns()
    yield drop_ins
    drop_ins.clear()


class _DropIns:
    def __init__(self) -> None:
        self._folders: list[Path] = []

    def __call__(self, unit: str, text: str) -> None:
        """Write a drop-in of a unit; systemd reads it at the next reload."""
        folder = Path("/etc/systemd/system") / f"{unit}.d"
        folder.mkdir(exist_ok=True)
        folder.joinpath("60-test.conf").write_text(text)
        self._folders.append(folder)

    def clear(self) -> None:
        for folder in self._folders:
            if folder.exists():
                fs.remove_tree(folder)
