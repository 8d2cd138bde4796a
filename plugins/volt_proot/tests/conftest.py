"""Containers on real proot, from a root file system made of the host's busybox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from volt_core.contracts import BackendContext
from volt_core.models.workload import ContainerSpec
from volt_core.paths import VoltPaths
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.workbench import Workbench
from volt_proot.backend import ProotBackend


@pytest.fixture
def backend(paths: VoltPaths) -> ProotBackend:
    """The backend on an instance of its own."""
    return ProotBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))


@pytest.fixture
def bench(backend: ProotBackend, busybox_root: Path) -> Iterator[Workbench]:
    """Makes containers and clears them away."""
    image = backend.store.put_directory(busybox_root).digest

    def make_spec(root: str, command: Any, **changes: Any) -> ContainerSpec:
        return msgspec.structs.replace(ContainerSpec(image="test", root=root, command=tuple(command)), **changes)

    bench = Workbench(backend, make_spec, image, patience=60.0)
    yield bench
    bench.clear()
