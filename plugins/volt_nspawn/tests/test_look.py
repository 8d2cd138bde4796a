"""The quick look at a unit, which every command takes, beside all that systemd knows of it."""

from __future__ import annotations

import pytest
from msgspec import structs

from volt_core.systemd.bus import Systemd
from volt_core.systemd.unitstate import UnitState
from volt_core.testing.payloads import ShellPayload
from volt_core.testing.workbench import Workbench
from volt_nspawn.names import unit_name

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]


def test_a_look_tells_what_all_properties_would(bench: Workbench) -> None:
    workload = bench.create(ShellPayload().sleeps())
    unit = unit_name(bench.backend.paths, workload.name)
    with Systemd() as systemd:
        assert _shared(systemd.look(unit)) == _shared(systemd.show(unit))
        bench.backend.start(workload)
        running = systemd.look(unit)
        assert running.is_active
        assert running.main_pid
        assert _shared(running) == _shared(systemd.show(unit))
        bench.backend.freeze(workload)  # type: ignore[attr-defined]
        assert systemd.look(unit).freezer == "frozen"
        bench.backend.stop(workload, 0)
        assert _shared(systemd.look(unit)) == _shared(systemd.show(unit))


def _shared(state: UnitState) -> UnitState:
    return structs.replace(state, result="", cpu_ns=0, memory_bytes=None, tasks=None, stop_seconds=None)
