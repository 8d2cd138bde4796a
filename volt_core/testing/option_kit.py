"""Cases for the facets that a container's options ask for: boot, restart, privileged, network, past logs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from volt_core.contracts import BackendContext, Boot, Network, PastLogs, Privileged, Restart
from volt_core.errors import InvalidSpec
from volt_core.models.workload import RestartPolicy, Status
from volt_core.paths import VoltPaths
from volt_core.testing.workbench import GRACE, BackendKit, Workbench


class BackendBootKit(BackendKit, facets=(Boot,)):
    """For backends with the facet Boot; the image of the kits has no init."""

    def test_b19_an_image_without_init_is_refused(self, bench: Workbench) -> None:
        with pytest.raises(InvalidSpec, match="init"):
            bench.create((), boot=True)


class BackendRestartKit(BackendKit, facets=(Restart,)):
    """For backends with the facet Restart."""

    def test_b20_what_has_ended_starts_again_until_it_is_stopped(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.prints("again"), restart=RestartPolicy(policy="always"))
        bench.wait_for("three runs", lambda: bench.lines(workload).count(b"again") >= 3)
        bench.backend.stop(workload, GRACE)
        assert not bench.backend.status(workload).status.active

    def test_b20_what_ended_well_does_not_after_a_failure_alone(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.prints("once"), restart=RestartPolicy(policy="on-failure"))
        assert bench.backend.wait(workload, bench.patience).code == 0
        assert bench.backend.status(workload).status is Status.STOPPED
        assert bench.lines(workload) == [b"once"]


class BackendPrivilegedKit(BackendKit, facets=(Privileged,)):
    """For backends with the facet Privileged."""

    def test_b21_it_may_do_more_than_others(self, bench: Workbench) -> None:
        bounds = []
        for privileged in (False, True):
            workload = bench.start(("grep", "CapBnd", "/proc/self/status"), privileged=privileged)
            bench.backend.wait(workload, bench.patience)
            bounds.append(int(bench.lines(workload)[0].split()[1], 16))
        assert bounds[0] & ~bounds[1] == 0
        assert bounds[0] != bounds[1]


class BackendNetworkKit(BackendKit, facets=(Network,)):
    """For backends with the facet Network."""

    def test_b22_none_is_the_loopback_alone(self, bench: Workbench) -> None:
        workload = bench.start(("cat", "/proc/net/dev"), network="none")
        bench.backend.wait(workload, bench.patience)
        assert [line.split(b":")[0].strip() for line in bench.lines(workload)[2:]] == [b"lo"]

    def test_b22_host_is_the_network_of_the_host(self, bench: Workbench) -> None:
        workload = bench.start(("readlink", "/proc/self/ns/net"), network="host")
        bench.backend.wait(workload, bench.patience)
        assert bench.lines(workload) == [os.readlink("/proc/self/ns/net").encode()]


class BackendPastLogsKit(BackendKit, facets=(PastLogs,)):
    """For backends with the facet PastLogs."""

    def test_b23_the_log_of_a_run_outlives_its_workload(self, bench: Workbench) -> None:
        assert isinstance(bench.backend, PastLogs)
        workload = bench.start(self.payload.prints("first", "more"))
        first = bench.backend.wait(workload, bench.patience)
        bench.backend.start(workload)
        second = bench.backend.wait(workload, bench.patience)
        bench.delete(workload)
        assert first.invocation != second.invocation
        records = list(bench.backend.past_logs(first.invocation))
        assert [record.data for record in records] == [b"first", b"more"]
        assert [record.data for record in bench.backend.past_logs(first.invocation, tail=1)] == [b"more"]
        assert list(bench.backend.past_logs(first.invocation, since=records[-1].time)) == []

    def test_b23_each_record_tells_its_run(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.prints("line"))
        runs = []
        for _ in range(2):
            bench.backend.start(workload)
            runs.append(bench.backend.wait(workload, bench.patience).invocation)
        assert [record.invocation for record in bench.backend.logs(workload)] == runs

    @pytest.mark.parametrize("unknown", ["0" * 32, "", "no such run", "*", "a=b", "-x"])
    def test_b23_an_unknown_run_has_an_empty_log(self, bench: Workbench, unknown: str) -> None:
        assert isinstance(bench.backend, PastLogs)
        bench.backend.wait(bench.start(self.payload.prints("line")), bench.patience)
        assert list(bench.backend.past_logs(unknown)) == []

    def test_b23_another_instance_does_not_know_the_run(self, bench: Workbench, tmp_path: Path) -> None:
        outcome = bench.backend.wait(bench.start(self.payload.prints("line")), bench.patience)
        context = BackendContext(paths=VoltPaths.below(tmp_path / "other"), open_store=lambda: bench.backend.store)
        other = type(bench.backend)(context)
        assert isinstance(other, PastLogs)
        assert list(other.past_logs(outcome.invocation)) == []
