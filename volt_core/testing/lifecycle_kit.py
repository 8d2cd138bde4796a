"""Conformance of a backend: create, start, stop, kill, delete, status, wait; see :mod:`.backend_kit`."""

from __future__ import annotations

import signal
import time

import pytest

from volt_core.errors import TimedOut, WrongState
from volt_core.models.workload import ContainerSpec, Status
from volt_core.testing.workbench import GRACE, SHORT, BackendKit, Workbench, background


class BackendLifecycleKit(BackendKit):
    """Create, start, stop, kill, delete, status, wait."""

    def test_b1_created_is_created_and_nothing_else(self, bench: Workbench) -> None:
        status = bench.backend.status(bench.create(self.payload.sleeps()))
        assert status.status is Status.CREATED
        assert (status.outcome, status.started, status.pid) == (None, 0, None)

    def test_b2_start_returns_when_the_payload_runs(self, bench: Workbench) -> None:
        before = time.time_ns()
        status = bench.backend.status(bench.start(self.payload.sleeps()))
        assert status.status is Status.RUNNING
        assert status.outcome is None
        assert before - 10**9 <= status.started <= time.time_ns()

    def test_b2_start_of_an_active_one_is_refused_and_changes_nothing(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        before = bench.backend.status(workload)
        with pytest.raises(WrongState):
            bench.backend.start(workload)
        assert bench.backend.status(workload) == before

    def test_b2_an_ended_one_starts_again(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        first = bench.backend.status(workload).started
        bench.backend.stop(workload, GRACE)
        bench.backend.start(workload)
        status = bench.backend.status(workload)
        assert status.status is Status.RUNNING
        assert status.outcome is None
        assert status.started > first

    def test_b3_stop_asks_and_the_payload_ends(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        bench.backend.stop(workload, GRACE)
        status = bench.backend.status(workload)
        assert status.status is Status.STOPPED
        assert status.pid is None
        assert status.outcome is not None
        if self.payload.tells_signals:
            assert status.outcome.signal == signal.SIGTERM

    def test_b3_stop_asks_with_the_signal_of_the_specification(self, bench: Workbench) -> None:
        if not isinstance(self.make_spec(bench.image, self.payload.sleeps()), ContainerSpec):
            pytest.skip("the specification of this kind has no stop signal")
        workload = bench.start(self.payload.sleeps(), stop_signal="SIGINT")
        bench.backend.stop(workload, GRACE)
        outcome = bench.backend.status(workload).outcome
        assert outcome is not None
        assert outcome.signal == signal.SIGINT

    def test_b3_stop_is_idempotent(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        bench.backend.stop(workload, GRACE)
        before = bench.backend.status(workload)
        bench.backend.stop(workload, GRACE)
        assert bench.backend.status(workload) == before

    def test_b3_stop_of_what_never_ran_is_success(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.sleeps())
        bench.backend.stop(workload, GRACE)
        assert bench.backend.status(workload).status is Status.CREATED

    def test_b3_stop_makes_it_end_after_the_timeout(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.ignores(signal.SIGTERM))
        bench.wait_for("ready", lambda: b"ready" in bench.lines(workload))
        begin = time.monotonic()
        bench.backend.stop(workload, 2 * SHORT)
        assert 2 * SHORT <= time.monotonic() - begin < bench.patience
        status = bench.backend.status(workload)
        assert not status.status.active
        if self.payload.tells_signals:
            assert status.outcome is not None
            assert status.outcome.signal == signal.SIGKILL

    def test_b3_stop_without_time_does_not_ask(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.ignores(signal.SIGTERM))
        bench.wait_for("ready", lambda: b"ready" in bench.lines(workload))
        bench.backend.stop(workload, 0)
        assert not bench.backend.status(workload).status.active

    def test_b3_stop_waits_as_long_as_it_is_told(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        bench.backend.stop(workload, 9_999_999.0)
        status = bench.backend.status(workload)
        assert status.status is Status.STOPPED
        if self.payload.tells_signals:
            assert status.outcome is not None
            assert status.outcome.signal == signal.SIGTERM

    def test_b4_kill_sends_the_signal(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        bench.backend.kill(workload, signal.SIGUSR1)
        outcome = bench.backend.wait(workload, bench.patience)
        if self.payload.tells_signals:
            assert outcome.signal == signal.SIGUSR1

    def test_b4_kill_does_not_wait(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.ignores(signal.SIGUSR1))
        bench.wait_for("ready", lambda: b"ready" in bench.lines(workload))
        bench.in_time("a kill", lambda: bench.backend.kill(workload, signal.SIGUSR1))
        assert bench.backend.status(workload).status is Status.RUNNING

    def test_b4_kill_of_what_does_not_run_is_refused(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.sleeps())
        with pytest.raises(WrongState):
            bench.backend.kill(workload, signal.SIGTERM)
        bench.backend.start(workload)
        bench.backend.stop(workload, GRACE)
        with pytest.raises(WrongState):
            bench.backend.kill(workload, signal.SIGTERM)

    def test_b5_delete_leaves_nothing_that_a_new_one_of_the_name_would_find(self, bench: Workbench) -> None:
        first = bench.start(self.payload.prints("of the first"))
        bench.backend.wait(first, bench.patience)
        bench.delete(first)
        second = bench.create(self.payload.prints("of the second"), name=first.name)
        assert bench.backend.status(second).status is Status.CREATED
        assert bench.lines(second) == []
        bench.backend.start(second)
        bench.backend.wait(second, bench.patience)
        assert bench.lines(second) == [b"of the second"]

    def test_b6_an_end_is_seen_by_who_only_looks(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.prints("over soon"))
        bench.wait_for("the end", lambda: not bench.backend.status(workload).status.active)
        status = bench.fresh().status(workload)
        assert status.status is Status.STOPPED
        assert status.outcome is not None
        assert status.outcome.code == 0

    def test_b6_status_of_many_is_the_status_of_each(self, bench: Workbench) -> None:
        workloads = [bench.create(self.payload.sleeps()), bench.start(self.payload.sleeps())]
        many = bench.backend.statuses(workloads)
        assert many == {workload.name: bench.backend.status(workload) for workload in workloads}

    @pytest.mark.parametrize("code", [0, 1, 7, 255])
    def test_b7_the_exit_code_is_kept(self, bench: Workbench, code: int) -> None:
        begin = time.time_ns()
        workload = bench.start(self.payload.exits(code))
        outcome = bench.backend.wait(workload, bench.patience)
        assert (outcome.code, outcome.signal, outcome.result) == (code, None, "exited")
        assert begin - 10**9 <= outcome.started <= outcome.finished <= time.time_ns()
        status = bench.backend.status(workload)
        assert status.outcome == outcome
        assert status.status is (Status.STOPPED if code == 0 else Status.FAILED)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1])
    def test_b7_the_signal_is_kept(self, bench: Workbench, number: signal.Signals) -> None:
        if not self.payload.tells_signals:
            pytest.skip("this kind of workload cannot tell which signal ended it")
        outcome = bench.backend.wait(bench.start(self.payload.dies_of(number)), bench.patience)
        assert (outcome.code, outcome.signal, outcome.result) == (None, number, "signaled")

    def test_b7_wait_before_the_first_start_is_refused(self, bench: Workbench) -> None:
        with pytest.raises(WrongState):
            bench.backend.wait(bench.create(self.payload.sleeps()), SHORT)

    def test_b7_wait_ends_at_its_time_limit(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        with pytest.raises(TimedOut):
            bench.in_time("a wait of 0.3 s", lambda: bench.backend.wait(workload, SHORT))
        assert bench.backend.status(workload).status is Status.RUNNING

    def test_b7_the_outcome_is_that_of_the_last_run(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.exits(7))
        outcomes = []
        for _ in range(2):
            bench.backend.start(workload)
            outcomes.append(bench.backend.wait(workload, bench.patience))
            assert bench.backend.status(workload).outcome == outcomes[-1]
            assert bench.fresh().wait(workload, SHORT) == outcomes[-1]
        assert outcomes[0].finished <= outcomes[1].started
        assert outcomes[0] != outcomes[1]

    def test_b7_wait_hears_of_a_stop(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        with background(lambda: bench.fresh().wait(workload, bench.patience)) as waiting:
            bench.backend.stop(workload, GRACE)
            assert waiting.result(bench.patience) == bench.backend.status(workload).outcome

    def test_b9_probe_says_yes_quickly(self, bench: Workbench) -> None:
        begin = time.monotonic()
        probe = type(bench.backend).probe()
        assert probe.available, probe.reason
        assert time.monotonic() - begin < 1

    def test_b10_another_instance_sees_the_same(self, bench: Workbench) -> None:
        running = bench.start(self.payload.sleeps())
        ended = bench.start(self.payload.exits(7))
        outcome = bench.backend.wait(ended, bench.patience)
        assert bench.fresh().status(running) == bench.backend.status(running)
        assert bench.fresh().wait(ended, SHORT) == outcome
        bench.fresh().stop(running, GRACE)
        assert not bench.backend.status(running).status.active
