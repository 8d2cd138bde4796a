"""Backends that break a promise of a facet (B-13, B-14, B-17, B-18), or promise what they have not (B-16, B-24)."""

from __future__ import annotations

from typing import Any

import msgspec

from volt_core.contracts import Network, StatsSample
from volt_core.errors import CapabilityMissing, WrongState
from volt_core.models.workload import Kind, Status, Workload
from volt_core.testing.fakes import DummyContainer, FakeBackend
from volt_core.testing.runs import Host


class FreezesOnce(DummyContainer):
    BREAKS = "B-13"

    def freeze(self, workload: Workload) -> None:
        if self.status(workload).status is Status.FROZEN:
            raise WrongState("it is frozen")
        super().freeze(workload)


class CountsNothing(DummyContainer):
    """Measures what does not run, too."""

    BREAKS = "B-14"

    def stats(self, workload: Workload) -> StatsSample:
        return StatsSample(cpu_ns=1, memory_bytes=0, tasks=1)


class SnapshotsTheFolder(DummyContainer):
    BREAKS = "B-17"

    def snapshot(self, workload: Workload) -> str:
        return self.store.put_directory(self._folder(workload)).digest


class RenamesTheRunning(DummyContainer):
    BREAKS = "B-18"

    def rename(self, workload: Workload, name: str) -> None:
        Host.move(self._folder(workload), self.paths.workload(workload.kind, name))


class TakesAnySpecification(DummyContainer):
    BREAKS = "B-16"

    def create(self, workload: Workload) -> None:
        super().create(msgspec.structs.replace(workload, spec=msgspec.structs.replace(workload.spec, ports=())))


class LiesAboutStats(DummyContainer):
    BREAKS = "B-24"

    def stats(self, workload: Workload) -> Any:
        raise NotImplementedError


class LiesAboutTheNetwork(DummyContainer, Network):
    BREAKS = "B-24"

    def create(self, workload: Workload) -> None:
        if workload.spec.network:  # type: ignore[union-attr]
            raise CapabilityMissing("no such thing")
        super().create(workload)


class HasMoreThanItSays(FakeBackend):
    """Has the methods and not the facet, so that nobody finds them."""

    BREAKS = "B-24"
    NAME = "more"
    KIND = Kind.CONTAINER
    command = DummyContainer.command
    freeze = DummyContainer.freeze
    thaw = DummyContainer.thaw
