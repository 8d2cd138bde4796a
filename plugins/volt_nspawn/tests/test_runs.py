"""Which run a wait, or a foreground run, is about when a container is started again meanwhile."""

from __future__ import annotations

import pytest

from volt_core.errors import TimedOut
from volt_core.models.outcome import Outcome
from volt_core.models.workload import RestartPolicy, Status, Workload
from volt_core.testing.workbench import GRACE, SHORT, Pipes, Workbench, background

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

# Ends with 1, 2, 3 ...: each run has a code of its own.
_COUNT = 'n=$(($(cat /n 2>/dev/null) + 1)); echo $n > /n; echo "run $n"; '
_COUNTS = f"{_COUNT} sleep 0.3; exit $n"
_COUNTS_AND_WAITS = f'{_COUNT} trap "exit $n" TERM; sleep 1000 & wait'


def test_a_wait_is_about_the_run_that_was_there(bench: Workbench) -> None:
    workload = bench.start(("sh", "-c", _COUNTS_AND_WAITS))
    bench.wait_for("run 1", lambda: b"run 1" in bench.lines(workload))
    with background(lambda: bench.fresh().wait(workload, bench.patience)) as waiting:
        with pytest.raises(TimedOut):
            bench.fresh().wait(workload, SHORT)
        bench.backend.stop(workload, GRACE)
        bench.backend.start(workload)
        assert waiting.result(bench.patience).code == 1
    assert bench.backend.status(workload).status is Status.RUNNING


def test_a_wait_goes_on_while_systemd_starts_it_again(bench: Workbench) -> None:
    policy = RestartPolicy(policy="on-failure", max_retries=2)
    workload = bench.start(("sh", "-c", _COUNTS), restart=policy)
    assert bench.backend.wait(workload, bench.patience).code == 3
    assert bench.lines(workload) == [b"run 1", b"run 2", b"run 3"]


def test_what_was_waited_for_can_be_started(bench: Workbench) -> None:
    """The outcome is kept a moment before systemd is done with the unit."""
    workload = bench.create(("true",))
    with Pipes() as pipes:
        for _ in range(20):
            bench.backend.start(workload)
            bench.backend.wait(workload, bench.patience)
            assert not bench.backend.status(workload).status.active
            _run(bench, workload, pipes)
            assert not bench.backend.status(workload).status.active


def test_a_foreground_run_ends_with_its_first_run(bench: Workbench) -> None:
    workload = bench.create(("sh", "-c", _COUNTS), restart=RestartPolicy(policy="always"))
    with Pipes() as pipes:
        assert _run(bench, workload, pipes).code == 1
        assert pipes.output() == b"run 1\n"
    bench.wait_for("more runs", lambda: b"run 3" in bench.lines(workload))
    bench.backend.stop(workload, GRACE)
    assert not bench.backend.status(workload).status.active


def test_a_foreground_run_has_its_own_outcome(bench: Workbench) -> None:
    workload = bench.create(("sh", "-c", _COUNTS_AND_WAITS))
    with Pipes() as pipes, background(lambda: _run(bench, workload, pipes)) as running:
        pipes.wait_for_output(bench.patience)
        bench.fresh().stop(workload, GRACE)
        bench.fresh().start(workload)
        assert running.result(bench.patience).code == 1
    assert bench.backend.status(workload).status is Status.RUNNING


def _run(bench: Workbench, workload: Workload, pipes: Pipes) -> Outcome:
    return bench.backend.run_attached(workload, pipes.streams, lambda: None)  # type: ignore[attr-defined, no-any-return]
