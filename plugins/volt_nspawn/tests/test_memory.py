"""What the kernel kills for want of memory, on real cgroup controllers."""

from __future__ import annotations

import pytest

from volt_core import native
from volt_core.models.resources import Resources
from volt_core.testing.workbench import Workbench

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_cgroup_controllers, pytest.mark.needs_busybox]
_LIMIT = Resources(memory_max=16 << 20)
_HOG = "tail -n 1 /dev/zero"


@pytest.mark.parametrize(
    ("script", "status"),
    [(f"exec {_HOG}", 137), (f"{_HOG}; exit 3", 3), ("exit 4", 4)],
    ids=["the payload", "a child", "nothing"],
)
def test_the_outcome_tells_of_a_kill_for_want_of_memory(bench: Workbench, script: str, status: int) -> None:
    workload = bench.start(("sh", "-c", script), resources=_LIMIT)
    outcome = bench.backend.wait(workload, bench.patience)
    assert outcome.exit_status == status
    assert outcome.oom == (_HOG in script)


def test_it_does_so_without_a_compiler(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "program", lambda _: None)
    workload = bench.start(("sh", "-c", f"{_HOG}; exit 3"), resources=_LIMIT)
    outcome = bench.backend.wait(workload, bench.patience)
    assert outcome.exit_status == 3
    assert outcome.oom
