"""Conformance of a backend: several callers at once; see :mod:`.backend_kit`."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from volt_core.errors import TimedOut, WrongState
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Status, Workload
from volt_core.testing.workbench import GRACE, SHORT, BackendKit, Workbench, background


class BackendConcurrencyKit(BackendKit):
    """Two callers at once, on one workload and on many."""

    @pytest.mark.parametrize("delay", [0.04, 0.08, 0.12])
    def test_b2_of_two_starts_one_is_refused_and_leaves_the_other_alone(self, bench: Workbench, delay: float) -> None:
        workload = bench.create(self.payload.sleeps())

        def start(pause: float) -> bool:
            time.sleep(pause)
            try:
                bench.fresh().start(workload)
            except WrongState:
                return False
            return True

        with ThreadPoolExecutor() as threads:
            assert sorted(threads.map(start, (0.0, delay))) == [False, True]
        assert bench.backend.status(workload).status is Status.RUNNING
        bench.backend.stop(workload, GRACE)
        assert bench.backend.status(workload).status is Status.STOPPED

    def test_b3_two_stops_at_once(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda backend: backend.stop(workload, GRACE), [bench.fresh(), bench.fresh()]))
        assert not bench.backend.status(workload).status.active

    def test_b3_a_kill_during_a_stop_shortens_it(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.ignores(signal.SIGTERM))
        bench.wait_for("ready", lambda: b"ready" in bench.lines(workload))
        begin = time.monotonic()
        with background(lambda: bench.fresh().stop(workload, 60)):
            time.sleep(SHORT)
            bench.backend.kill(workload, signal.SIGKILL)
        assert time.monotonic() - begin < bench.patience
        assert not bench.backend.status(workload).status.active

    def test_b6_status_answers_while_a_stop_waits(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.ignores(signal.SIGTERM))
        bench.wait_for("ready", lambda: b"ready" in bench.lines(workload))
        with background(lambda: bench.fresh().stop(workload, 1.5)):
            time.sleep(SHORT)
            begin = time.monotonic()
            assert bench.backend.status(workload).status is Status.RUNNING
            assert time.monotonic() - begin < 1

    def test_b10_many_at_once_keep_to_themselves(self, bench: Workbench) -> None:
        workloads = [bench.create(self.payload.exits(code)) for code in range(10)]
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda workload: bench.fresh().start(workload), workloads))
        outcomes: list[Outcome] = [bench.backend.wait(workload, bench.patience) for workload in workloads]
        assert [outcome.code for outcome in outcomes] == list(range(10))

    def test_b28_workloads_do_not_wait_for_one_another(self, bench: Workbench) -> None:
        busy = bench.start(self.payload.ignores(signal.SIGTERM))
        bench.wait_for("ready", lambda: b"ready" in bench.lines(busy))
        with background(lambda: bench.fresh().stop(busy, 60)) as stopping:
            time.sleep(SHORT)
            try:
                bench.in_time("another", lambda: self._live(bench, bench.plan(self.payload.sleeps())))
                assert not stopping.done()
            finally:
                bench.backend.kill(busy, signal.SIGKILL)

    def test_b28_life_cycles_in_several_threads(self, bench: Workbench) -> None:
        workloads = [bench.plan(self.payload.prints_then_sleeps("here")) for _ in range(4)]

        with _repeated(lambda: bench.fresh().statuses(workloads)), ThreadPoolExecutor(len(workloads)) as pool:
            list(pool.map(lambda workload: self._live(bench, workload), workloads))

    def test_b28_whoever_looks_meanwhile_gets_an_answer(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.prints_then_sleeps("here"))

        def look() -> None:
            backend = bench.fresh()
            status = backend.status(workload)
            assert status.status.active or status.outcome is not None or status.status is Status.CREATED
            with contextlib.suppress(WrongState, TimedOut):
                backend.wait(workload, 0.01)
            with contextlib.suppress(WrongState):
                backend.kill(workload, signal.SIGCONT)

        with _repeated(look), _repeated(lambda: bench.fresh().statuses([workload])):
            for _ in range(3):
                bench.backend.start(workload)
                bench.backend.stop(workload, GRACE)
        assert bench.lines(workload).count(b"here") <= 3

    def test_b8_b28_a_reader_follows_through_stop_and_delete(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.prints_then_sleeps("here"))
        seen = threading.Event()
        gathered: list[bytes] = []

        def follow() -> None:
            for record in bench.fresh().logs(workload, follow=True):
                gathered.append(record.data)
                seen.set()

        with background(follow, bench.patience):
            assert seen.wait(bench.patience)
            bench.backend.stop(workload, GRACE)
            bench.delete(workload)
        assert gathered == [b"here"]

    def _live(self, bench: Workbench, workload: Workload) -> None:
        """Take it through two runs."""
        backend = bench.fresh()
        backend.create(workload)
        for _ in range(2):
            backend.start(workload)
            assert backend.status(workload).status is Status.RUNNING
            backend.stop(workload, GRACE)
            assert not backend.status(workload).status.active
        backend.delete(workload)


@contextlib.contextmanager
def _repeated(act: Callable[[], object]) -> Iterator[None]:
    """Do it again and again in a thread beside the block, at least once; an error of it is the block's."""
    over = threading.Event()

    def repeat() -> None:
        while True:
            act()
            if over.wait(0.005):
                return

    with background(repeat):
        try:
            yield
        finally:
            over.set()
