"""Backends that break a promise about how a run ended (B-7), to other callers (B-10, B-28) or after a crash (B-29)."""

from __future__ import annotations

import threading
from typing import ClassVar

import msgspec

from volt_core.contracts import BackendContext
from volt_core.errors import WrongState
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Status, Workload, WorkloadStatus
from volt_core.testing.fakes import DummyContainer


class OutcomeMutant(DummyContainer):
    BREAKS = "B-7"


class ForgetsTheCode(OutcomeMutant):
    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        return msgspec.structs.replace(super().wait(workload, timeout), code=0)


class ForgetsTheSignal(OutcomeMutant):
    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        outcome = super().wait(workload, timeout)
        return msgspec.structs.replace(outcome, code=outcome.exit_status, signal=None)


class TellsOfAnotherRun(OutcomeMutant):
    """Keeps the first outcome for good."""

    kept: ClassVar[dict[str, Outcome]] = {}

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        return self.kept.setdefault(workload.id, super().wait(workload, timeout))


class WaitReturnsAtOnce(OutcomeMutant):
    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        run = self._find_run(workload)
        if run is not None and run.active:
            return Outcome(code=0, started=run.started, finished=run.started)
        return super().wait(workload, timeout)


class WaitHasNoLimit(OutcomeMutant):
    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        return super().wait(workload)


class RemembersInTheInstance(DummyContainer):
    BREAKS = "B-10"

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context)
        self._mine: set[str] = set()

    def create(self, workload: Workload) -> None:
        super().create(workload)
        self._mine.add(workload.id)

    def status(self, workload: Workload) -> WorkloadStatus:
        if workload.id not in self._mine:
            return WorkloadStatus(status=Status.CREATED)
        return super().status(workload)


class OneAtATime(DummyContainer):
    BREAKS = "B-28"
    lock: ClassVar[threading.Lock] = threading.Lock()

    def start(self, workload: Workload) -> None:
        with self.lock:
            super().start(workload)

    def stop(self, workload: Workload, timeout: float) -> None:
        with self.lock:
            super().stop(workload, timeout)


class TakesItsTime(DummyContainer):
    """A kill in the middle of a start leaves what no delete can release."""

    BREAKS = "B-29"

    def start(self, workload: Workload) -> None:
        half = self._folder(workload) / "half"
        half.touch()
        super().start(workload)
        half.unlink()

    def delete(self, workload: Workload) -> None:
        if (self._folder(workload) / "half").exists():
            raise WrongState("it is being started")
        super().delete(workload)
