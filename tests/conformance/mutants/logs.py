"""Backends that break a promise about logs: B-8, and B-23."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from volt_core.contracts import LogRecord
from volt_core.models.workload import Workload
from volt_core.testing.fakes import DummyContainer
from volt_core.testing.runs import Host


class LogMutant(DummyContainer):
    BREAKS = "B-8"


class ChangedLog(LogMutant):
    """Tells something else to all but those who follow."""

    @staticmethod
    def change(records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        raise NotImplementedError

    def logs(self, workload: Workload, *, follow: bool = False, **options: Any) -> Iterator[LogRecord]:
        records = super().logs(workload, follow=follow, **options)
        return records if follow else iter(self.change(list(records)))


class LosesTheLastLine(ChangedLog):
    change = staticmethod(lambda records: [it for it in records if not it.partial])


class LosesStderr(ChangedLog):
    change = staticmethod(lambda records: [it for it in records if it.stream == "stdout"])


class MergesStreams(ChangedLog):
    change = staticmethod(lambda records: [msgspec.structs.replace(it, stream="stdout") for it in records])


class RepeatsLines(ChangedLog):
    change = staticmethod(lambda records: [*records, *records[-1:]])


class TellsOfTheLastRunAlone(ChangedLog):
    change = staticmethod(lambda records: [it for it in records if it.invocation == records[-1].invocation])


class DecodesOutput(ChangedLog):
    change = staticmethod(lambda records: [msgspec.structs.replace(it, data=_decoded(it.data)) for it in records])


class FollowsForEver(LogMutant):
    def logs(self, workload: Workload, *, follow: bool = False, **options: Any) -> Iterator[LogRecord]:
        yield from super().logs(workload, follow=follow, **options)
        while follow:
            time.sleep(0.05)


class FollowMissesLines(LogMutant):
    """Yields what was there, and stops."""

    def logs(self, workload: Workload, *, follow: bool = False, **options: Any) -> Iterator[LogRecord]:
        return super().logs(workload, **options)


class SinceIncludesTheMoment(LogMutant):
    def logs(self, workload: Workload, *, since: int = 0, **options: Any) -> Iterator[LogRecord]:
        return super().logs(workload, since=max(0, since - 1), **options)


class UntilExcludesTheMoment(LogMutant):
    def logs(self, workload: Workload, *, until: int = 0, **options: Any) -> Iterator[LogRecord]:
        return super().logs(workload, until=max(0, until - 1), **options)


class ForgetsPastLogs(DummyContainer):
    BREAKS = "B-23"

    def past_logs(self, invocation: str, **options: Any) -> Iterator[LogRecord]:
        for workload, log in Host.logs.items():
            if workload.parent == self.paths.workloads(self.KIND):
                yield from log.read(tail=None, since=0, invocation=invocation)[0]


def _decoded(data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode()
