"""Conformance of a backend: whoever acts is killed in the middle, and nothing stays; see :mod:`.backend_kit`."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from volt_core.models.workload import ContainerSpec, Status, Workload
from volt_core.testing.killed import act_until
from volt_core.testing.workbench import GRACE, SHORT, BackendKit, Workbench

STEPS = (0, 1, 2, 4, 8, 16)
"""Changes of the file system that the one who is killed gets to make."""
PARTS = (0.25, 0.5, 0.75)
"""How much of the time that an act takes is over when it is killed."""
_TICKS = "/kit/ticks"


class BackendLeftoverKit(BackendKit):
    """What killed callers leave."""

    @pytest.mark.parametrize("step", STEPS)
    def test_b29_a_create_killed_at_any_step_can_be_cleared_away(self, bench: Workbench, step: int) -> None:
        workload = bench.plan(self.payload.sleeps())
        act_until(step, lambda: bench.fresh().create(workload))
        self._clear_away(bench, workload)

    @pytest.mark.parametrize("step", STEPS)
    def test_b29_a_start_killed_at_any_step_can_be_cleared_away(
        self, bench: Workbench, tmp_path: Path, step: int
    ) -> None:
        workload, ticks = self._ticking(bench, tmp_path)
        act_until(step, lambda: bench.fresh().start(workload))
        self._clear_away(bench, workload, ticks)

    @pytest.mark.parametrize("part", PARTS)
    def test_b29_a_start_killed_at_any_moment_can_be_cleared_away(
        self, bench: Workbench, tmp_path: Path, part: float
    ) -> None:
        workload, ticks = self._ticking(bench, tmp_path)
        begin = time.monotonic()
        bench.backend.start(workload)
        needed = time.monotonic() - begin
        bench.backend.stop(workload, GRACE)
        _killed_after(needed * part, lambda: bench.fresh().start(workload))
        self._clear_away(bench, workload, ticks)

    @pytest.mark.parametrize("part", PARTS)
    def test_b29_a_stop_killed_at_any_moment_is_made_good_by_the_next(
        self, bench: Workbench, tmp_path: Path, part: float
    ) -> None:
        workload, ticks = self._ticking(bench, tmp_path)
        bench.backend.start(workload)
        _killed_after(SHORT * part, lambda: bench.fresh().stop(workload, SHORT))
        self._clear_away(bench, workload, ticks)

    def test_b2_b29_a_run_goes_on_when_who_started_it_is_killed(self, bench: Workbench) -> None:
        if not self.SURVIVES:
            pytest.skip("what this backend runs does not survive the process that starts it")
        workload = bench.create(self.payload.prints_then_sleeps("here"))

        def start_and_die() -> None:
            bench.fresh().start(workload)
            os.kill(os.getpid(), signal.SIGKILL)

        assert not act_until(1 << 30, start_and_die)
        assert bench.backend.status(workload).status is Status.RUNNING
        bench.wait_for("the first line", lambda: bench.lines(workload) == [b"here"])
        self._clear_away(bench, workload)

    def _ticking(self, bench: Workbench, tmp_path: Path) -> tuple[Workload, Path | None]:
        """Return a workload that leaves a child behind, and the file to which that adds while it is alive."""
        if isinstance(self.make_spec(bench.image, self.payload.sleeps()), ContainerSpec):
            source = tmp_path / "bound"
            source.mkdir()
            workload = bench.find_bound(self.payload.leaves_a_child(_TICKS), source, os.path.dirname(_TICKS))
            if workload is not None:
                return workload, source / os.path.basename(_TICKS)
        return bench.create(self.payload.sleeps()), None

    def _clear_away(self, bench: Workbench, workload: Workload, ticks: Path | None = None) -> None:
        """End and delete it as the core would, and see that nothing of it is left."""
        bench.backend.status(workload)
        bench.backend.stop(workload, 2 * SHORT)
        assert not bench.backend.status(workload).status.active
        bench.delete(workload)
        assert not bench.folder(workload).exists()
        if ticks is not None and ticks.exists():
            size = ticks.stat().st_size
            time.sleep(SHORT)
            assert ticks.stat().st_size == size, "something of it goes on"
        again = bench.create(self.payload.prints("again"), name=workload.name)
        assert bench.backend.status(again).status is Status.CREATED
        bench.backend.start(again)
        assert bench.backend.wait(again, bench.patience).code == 0
        assert bench.lines(again) == [b"again"]


def _killed_after(seconds: float, act: Any) -> None:
    """Act in a child of this process that is killed so many seconds later, unless it has ended."""

    def mortal() -> None:
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        act()

    act_until(1 << 30, mortal)
