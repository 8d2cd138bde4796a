"""The place of the backend 'qemu': known to Volt, shown by ``volt plugin list``, not able to run anything yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from volt_core.contracts import Backend, LogRecord, Probe
from volt_core.errors import BackendUnavailable
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Kind, Workload, WorkloadStatus

REASON = "not yet: virtual machines under QEMU arrive with a coming release of volt-qemu"
HINT = "Run the same image as a container: volt run IMAGE."


class QemuBackend(Backend):
    """Refuses every act with the reason that its probe gives."""

    NAME = "qemu"
    KIND = Kind.VM
    PRIORITY = 100

    @classmethod
    def probe(cls) -> Probe:
        return Probe.no(REASON, HINT)

    def create(self, workload: Workload) -> None:
        self._refuse("create", workload)

    def start(self, workload: Workload) -> None:
        self._refuse("start", workload)

    def stop(self, workload: Workload, timeout: float) -> None:
        self._refuse("stop", workload)

    def kill(self, workload: Workload, signal: int) -> None:
        self._refuse("kill", workload)

    def delete(self, workload: Workload) -> None:
        self._refuse("delete", workload)

    def status(self, workload: Workload) -> WorkloadStatus:
        self._refuse("read the status of", workload)

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        self._refuse("wait for", workload)

    def logs(
        self, workload: Workload, *, follow: bool = False, tail: int | None = None, since: int = 0, until: int = 0
    ) -> Iterator[LogRecord]:
        self._refuse("read the log of", workload)

    def _refuse(self, act: str, workload: Workload) -> NoReturn:
        raise BackendUnavailable(f"Cannot {act} '{workload.name}' by backend 'qemu': {REASON}", hint=HINT)
