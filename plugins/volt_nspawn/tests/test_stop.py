"""How containers are stopped, and what a list of many costs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from volt_core.models.workload import Status
from volt_core.systemd.bus import Systemd
from volt_core.testing.payloads import ShellPayload
from volt_core.testing.workbench import GRACE, Workbench
from volt_nspawn.names import unit_name

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

DropIn = Callable[[str, str], None]


def test_what_keeps_the_outcome_is_not_killed(bench: Workbench, drop_in: DropIn) -> None:
    workload = bench.create(ShellPayload().sleeps())
    unit = unit_name(bench.backend.paths, workload.name)
    (outcome,) = _texts(unit, "ExecStopPost=")
    drop_in(unit, f"[Service]\nExecStopPost=\nExecStopPost=/bin/sleep 2\n{outcome}\n")
    with Systemd() as systemd:
        systemd.reload()
    bench.backend.start(workload)
    bench.backend.stop(workload, 0.5)
    found = bench.backend.status(workload)
    assert found.status is Status.STOPPED
    assert found.outcome is not None
    assert found.outcome.signal == signal.SIGTERM


def test_a_longer_patience_than_the_units_own_is_kept(bench: Workbench) -> None:
    script = "trap 'sleep 3; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    workload = bench.create(("sh", "-c", script), stop_timeout=1.0)
    bench.backend.start(workload)
    bench.wait_for("ready", lambda: b"ready" in bench.lines(workload))
    bench.backend.stop(workload, 60.0)
    outcome = bench.backend.status(workload).outcome
    assert outcome is not None
    assert outcome.code == 5
    # The next one is by the unit's own again.
    bench.backend.start(workload)
    with Systemd() as systemd:
        unit = unit_name(bench.backend.paths, workload.name)
        systemd.reload_if_needed([unit])
        assert systemd.show(unit).stop_seconds == 1.0


def test_a_frozen_one_is_killed_in_time(bench: Workbench) -> None:
    workload = bench.start(ShellPayload().ignores(signal.SIGTERM))
    bench.wait_for("ready", lambda: b"ready" in bench.lines(workload))
    bench.backend.freeze(workload)  # type: ignore[attr-defined]
    begin = time.monotonic()
    bench.backend.stop(workload, 0.5)
    assert time.monotonic() - begin < GRACE
    assert bench.backend.status(workload).status is Status.FAILED


def test_many_are_listed_by_one_question_and_two_more_for_each_that_is_active(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    workloads = [bench.start(ShellPayload().sleeps()) for _ in range(3)]
    workloads += [bench.create(ShellPayload().sleeps()) for _ in range(3)]
    asked: list[str] = []
    call = Systemd._call

    def counted(self: Systemd, member: str, *args: Any, **options: Any) -> Any:
        asked.append(member)
        return call(self, member, *args, **options)

    monkeypatch.setattr(Systemd, "_call", counted)
    found = bench.backend.statuses(workloads)
    assert [found[workload.name].status for workload in workloads] == [Status.RUNNING] * 3 + [Status.CREATED] * 3
    assert sorted(asked) == ["Get"] * 3 + ["GetAll"] * 3 + ["ListUnitsByPatterns"]


def _texts(unit: str, key: str) -> list[str]:
    with open(f"/etc/systemd/system/{unit}", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if line.startswith(key)]
