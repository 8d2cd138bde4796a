"""State that released versions wrote: every later Volt reads it, with the meaning it had."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from volt_core.models.mount import Mount
from volt_core.models.outcome import Outcome
from volt_core.models.workload import ContainerSpec, Kind
from volt_core.state import StateFile
from volt_core.workloads.folders import Folders
from volt_core.workloads.index import Index

RELEASES = sorted(path for path in Path(__file__).parent.iterdir() if (path / "containers").is_dir())


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_a_container_is_what_it_was(release, paths):
    shutil.copytree(release / "containers", paths.workloads(Kind.CONTAINER))
    workload = Folders(paths).find("web")
    assert workload is not None
    assert (workload.name, workload.backend, workload.labels) == ("web", "proot", {"tier": "front"})
    assert workload.created == 1795387951577979494
    spec = workload.spec
    assert isinstance(spec, ContainerSpec)
    assert spec.command == ("sh", "-c", "exit 3")
    assert spec.env["TOKEN"] == "secret"
    assert spec.mounts == (Mount(source="/srv", target="/srv", read_only=True),)
    assert (spec.stop_signal, spec.stop_timeout) == ("SIGINT", 10.0)
    assert spec.root.startswith("sha256:38816e8b")


def test_an_outcome_is_what_it_was(release):
    outcome = StateFile(Outcome).read(release / "containers/web/outcome.json")
    assert (outcome.code, outcome.exit_status, outcome.result) == (3, 3, "exited")
    assert outcome.finished > outcome.started > 0


def test_an_index_is_what_it_was(release):
    (entry,) = StateFile(Index).read(release / "workload-state.json").workloads
    assert (entry.name, entry.kind) == ("web", Kind.CONTAINER)
