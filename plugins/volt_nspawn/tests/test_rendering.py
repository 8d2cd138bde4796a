"""From a specification to names, command line, unit and ``.nspawn`` file; nothing is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from volt_core.errors import InvalidSpec
from volt_core.models.resources import Resources
from volt_core.models.workload import ContainerSpec, Kind, RestartPolicy, Workload
from volt_core.paths import VoltPaths
from volt_core.systemd.transient import build_properties, split_exec
from volt_core.systemd.unitfile import parse_unit
from volt_core.testing.fakes import MemoryStore
from volt_nspawn.argv import build_start_argv
from volt_nspawn.names import machine_name, unit_name
from volt_nspawn.plan import ContainerPlan, plan_container
from volt_nspawn.settings import render_settings
from volt_nspawn.unit import build_unit, render_unit

pytestmark = pytest.mark.needs_native


@pytest.fixture
def store(paths: VoltPaths) -> MemoryStore:
    return MemoryStore(paths.store)


@pytest.fixture
def root(store: MemoryStore, tmp_path: Path) -> str:
    tree = tmp_path / "tree"
    (tree / "usr").mkdir(parents=True)
    return store.put_directory(tree).digest


def plan(paths: VoltPaths, store: MemoryStore, root: str, **changes: Any) -> ContainerPlan:
    spec = msgspec.structs.replace(ContainerSpec(image="i", root=root, command=("sleep", "9")), **changes)
    workload = Workload(name="web", id="0" * 32, kind=Kind.CONTAINER, backend="nspawn", spec=spec, created=1)
    return plan_container(workload, paths, store)


def test_two_instances_never_share_a_name(tmp_path: Path) -> None:
    system, one, other = VoltPaths.for_system(), VoltPaths.below(tmp_path / "1"), VoltPaths.below(tmp_path / "2")
    for name in ("web", "a" * 63):
        assert len({unit_name(paths, name) for paths in (system, one, other)}) == 3
        machines = {machine_name(paths, name) for paths in (system, one, other)}
        assert len(machines) == 3
        assert all(len(machine) <= 64 for machine in machines)
    assert unit_name(system, "web") == "volt-container-web.service"


def test_the_unit_starts_what_was_planned(paths: VoltPaths, store: MemoryStore, root: str) -> None:
    planned = plan(paths, store, root, command=("sh", "-c", 'echo "$A" 50% \\ ;\n'))
    unit = parse_unit(render_unit(planned))
    assert split_exec(unit.values("Service", "ExecStart")[0]) == build_start_argv(planned)
    assert "--settings=no" in build_start_argv(planned)


def test_no_value_of_the_environment_is_in_a_file(paths: VoltPaths, store: MemoryStore, root: str) -> None:
    planned = plan(paths, store, root, env={"TOKEN": "hunter2"})
    assert "hunter2" not in render_unit(planned) + render_settings(planned)


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"restart": RestartPolicy(policy="on-failure", max_retries=3)}, "Restart", "on-failure"),
        ({"restart": RestartPolicy(policy="unless-stopped")}, "Restart", "always"),
        ({"resources": Resources(memory_max=1 << 20)}, "MemoryMax", str(1 << 20)),
        ({"resources": Resources(cpu_quota=1.5)}, "CPUQuota", "150%"),
        ({"resources": Resources(tasks_max=9)}, "TasksMax", "9"),
        ({"stop_timeout": 2.5}, "TimeoutStopSec", "2.5"),
    ],
)
def test_what_is_asked_for_is_in_the_unit(
    paths: VoltPaths, store: MemoryStore, root: str, changes: dict[str, Any], key: str, value: str
) -> None:
    unit = build_unit(plan(paths, store, root, **changes), transient=True)
    assert unit.values("Service", key) == [value]
    assert build_properties(unit), "a transient unit can have all of it"


def test_an_image_without_init_cannot_boot(paths: VoltPaths, store: MemoryStore, root: str) -> None:
    with pytest.raises(InvalidSpec, match="no init"):
        plan(paths, store, root, boot=True)
