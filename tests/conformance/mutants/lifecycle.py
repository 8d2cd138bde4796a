"""Backends that break a promise of the life cycle: B-1 to B-6, and B-9."""

from __future__ import annotations

import contextlib
import os
import signal as signals
import threading
import time
from typing import ClassVar

import msgspec

from volt_core.contracts import Probe
from volt_core.errors import ObjectMissing, VoltError, WrongState
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Status, Workload, WorkloadStatus
from volt_core.testing.fakes import DummyContainer


class ProbeRaises(DummyContainer):
    BREAKS = "B-9"

    @classmethod
    def probe(cls) -> Probe:
        raise FileNotFoundError("no such tool")


class CreatesWithoutTheImage(DummyContainer):
    BREAKS = "B-1"

    def create(self, workload: Workload) -> None:
        with contextlib.suppress(ObjectMissing):
            super().create(workload)


class StartMutant(DummyContainer):
    BREAKS = "B-2"


class StartReturnsAtOnce(StartMutant):
    def start(self, workload: Workload) -> None:
        start = super().start

        def late() -> None:
            with contextlib.suppress(VoltError):
                start(workload)

        threading.Timer(0.1, late).start()


class StartKeepsTheOutcome(StartMutant):
    """After the second start the first outcome is still told."""

    kept: ClassVar[dict[str, Outcome | None]] = {}

    def start(self, workload: Workload) -> None:
        self.kept[workload.id] = super().status(workload).outcome
        super().start(workload)

    def status(self, workload: Workload) -> WorkloadStatus:
        status = super().status(workload)
        return msgspec.structs.replace(status, outcome=status.outcome or self.kept.get(workload.id))


class StartsTwice(StartMutant):
    """A second start takes the place of the first."""

    def start(self, workload: Workload) -> None:
        super().stop(workload, 0)
        super().start(workload)


class StopMutant(DummyContainer):
    BREAKS = "B-3"


class LeavesAProcess(StopMutant):
    """Ends the payload's first process alone."""

    def stop(self, workload: Workload, timeout: float) -> None:
        run = self._find_run(workload)
        if run is not None:
            run._others.clear()
        super().stop(workload, timeout)


class StopsOnce(StopMutant):
    def stop(self, workload: Workload, timeout: float) -> None:
        if timeout and not self.status(workload).status.active:
            raise WrongState("it does not run")
        super().stop(workload, timeout)


class StopSpoilsTheOutcome(StopMutant):
    """Stopping what has ended makes it a stop's."""

    def stop(self, workload: Workload, timeout: float) -> None:
        run = self._find_run(workload)
        super().stop(workload, timeout)
        if run is not None and run.outcome is not None:
            run.outcome = msgspec.structs.replace(run.outcome, finished=time.time_ns())
            (self._folder(workload) / "outcome.json").unlink(missing_ok=True)


class StopDoesNotInsist(StopMutant):
    def stop(self, workload: Workload, timeout: float) -> None:
        run = self._find_run(workload)
        if timeout and run is not None and run.main is not None:
            run.main.send(self.stop_signal(workload))
            run.ended.wait(timeout)
        else:
            super().stop(workload, timeout)


class KillWaits(DummyContainer):
    BREAKS = "B-4"

    def kill(self, workload: Workload, signal: int) -> None:
        super().kill(workload, signal)
        self.wait(workload)


class KillsAnything(DummyContainer):
    BREAKS = "B-4"

    def kill(self, workload: Workload, signal: int) -> None:
        super().kill(workload, signals.SIGKILL)


class DeletesOnce(DummyContainer):
    BREAKS = "B-5"

    def delete(self, workload: Workload) -> None:
        os.stat(self._folder(workload) / "fake")
        super().delete(workload)


class LeavesTheOutcomeForTheNext(DummyContainer):
    BREAKS = "B-5"

    def delete(self, workload: Workload) -> None:
        """Keeps what runs by the name of the folder."""


class StatusMutant(DummyContainer):
    BREAKS = "B-6"


class TrustsItsRecord(StatusMutant):
    """Has it running from its start until somebody stops it or waits for it."""

    running: ClassVar[set[str]] = set()

    def start(self, workload: Workload) -> None:
        super().start(workload)
        self.running.add(workload.id)

    def stop(self, workload: Workload, timeout: float) -> None:
        super().stop(workload, timeout)
        self.running.discard(workload.id)

    def status(self, workload: Workload) -> WorkloadStatus:
        if workload.id in self.running:
            return WorkloadStatus(status=Status.RUNNING, started=1)
        return super().status(workload)


class StatusNeedsTheFolder(StatusMutant):
    def status(self, workload: Workload) -> WorkloadStatus:
        os.stat(self._folder(workload) / "fake")
        return super().status(workload)


class StatusWaitsForAStop(StatusMutant):
    lock: ClassVar[threading.Lock] = threading.Lock()

    def stop(self, workload: Workload, timeout: float) -> None:
        with self.lock:
            super().stop(workload, timeout)

    def status(self, workload: Workload) -> WorkloadStatus:
        with self.lock:
            return super().status(workload)
