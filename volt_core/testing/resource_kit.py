"""Conformance of a backend: limits hold; see :mod:`.backend_kit`."""

from __future__ import annotations

from volt_core.contracts import Limits
from volt_core.models.resources import Resources
from volt_core.models.workload import Status
from volt_core.testing import host
from volt_core.testing.workbench import BackendKit, Workbench

_TASKS = 16
_MEMORY = 32 << 20
_CORES = 0.2
_SECONDS = 2


class BackendResourceKit(BackendKit, facets=(Limits,)):
    """What ``spec.resources`` says, a payload meets."""

    def why_no_limits(self, controller: str) -> str:
        """Return why this host cannot limit by that cgroup controller, or nothing if it can."""
        return host.why_no_controller(controller)

    def test_b15_tasks_are_limited(self, bench: Workbench) -> None:
        self._needs("pids")
        counts = []
        for limit in (None, _TASKS):
            workload = bench.start(self.payload.forks(2 * _TASKS), resources=Resources(tasks_max=limit))
            bench.backend.wait(workload, bench.patience)
            counts.append(int(bench.lines(workload)[-1]))
        assert counts[0] == 2 * _TASKS
        assert 0 < counts[1] < _TASKS, "the payload is a task, too"

    def test_b15_memory_is_limited(self, bench: Workbench) -> None:
        self._needs("memory")
        outcomes = []
        for limit in (None, _MEMORY):
            workload = bench.start(self.payload.takes_memory(2 * _MEMORY), resources=Resources(memory_max=limit))
            outcomes.append(bench.backend.wait(workload, bench.patience))
        assert outcomes[0].code == 0
        assert not outcomes[1].clean
        assert bench.backend.status(workload).status is Status.FAILED

    def test_b15_cpu_time_is_limited(self, bench: Workbench) -> None:
        self._needs("cpu")
        cores = []
        for limit in (None, _CORES):
            workload = bench.start(self.payload.burns(_SECONDS), resources=Resources(cpu_quota=limit))
            bench.backend.wait(workload, bench.patience)
            used, taken = map(int, bench.lines(workload)[-1].split())
            cores.append(used / taken)
        assert cores[1] < 2 * _CORES < cores[0]

    def _needs(self, controller: str) -> None:
        if reason := self.why_no_limits(controller):
            host.lack("cgroup_controllers", reason)
