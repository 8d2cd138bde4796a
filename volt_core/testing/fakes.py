"""Backends in memory: a container, a virtual machine and a service that need no host.

They prove that the contract fits all three, they let the core be tested anywhere, and the conformance
kits are tested on them first. What they run is the language of :mod:`volt_core.testing.programs`, in
threads of this process: when the process is gone, so is the run, and its outcome is ``lost``.
"""

from __future__ import annotations

import abc
import shlex
import signal as signals
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from volt_core.contracts import (
    Attach,
    Backend,
    Capability,
    Exec,
    Freeze,
    LogRecord,
    PastLogs,
    Probe,
    Rename,
    Snapshot,
    Stats,
    StatsSample,
    Streams,
)
from volt_core.contracts.backend import FACETS
from volt_core.errors import BackendError, CapabilityMissing, InvalidSpec, TimedOut, WrongState
from volt_core.models.outcome import COMMAND_NOT_FOUND, Outcome
from volt_core.models.workload import ContainerSpec, Kind, ServiceSpec, Status, VmSpec, Workload, WorkloadStatus
from volt_core.state import StateFile
from volt_core.testing.memory_store import MemoryStore
from volt_core.testing.programs import Place, Program
from volt_core.testing.runs import Host, Log, Run, wait_forwarding

__all__ = ["DummyContainer", "DummyService", "DummyVm", "MemoryStore"]

_S = TypeVar("_S", ContainerSpec, VmSpec, ServiceSpec)
_OUTCOMES = StateFile(Outcome)
_ROOT = "rootfs"


class FakeBackend(Backend):
    """What the fakes have in common; a kind adds what a spec means and its facets."""

    CONSOLE = False

    @classmethod
    def probe(cls) -> Probe:
        return Probe.yes("fake")

    @abc.abstractmethod
    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        """Return command and surroundings of the workload's first program."""

    def stop_signal(self, workload: Workload) -> int:
        """Return the signal that asks the workload's first program to end."""
        return signals.SIGTERM

    def create(self, workload: Workload) -> None:
        self._folder(workload).joinpath("fake").mkdir()

    def start(self, workload: Workload) -> None:
        self._begin(workload, None)

    def stop(self, workload: Workload, timeout: float) -> None:
        run = self._find_run(workload)
        if run is None or run.main is None:
            return
        run.set_frozen(False)
        if timeout > 0:
            run.main.send(self.stop_signal(workload))
        if not run.ended.wait(timeout):
            run.main.send(signals.SIGKILL)
            run.ended.wait()
        self._keep_outcome(workload, run)

    def kill(self, workload: Workload, signal: int) -> None:
        main = self._active(workload, "kill").main
        if main is not None:
            main.send(signal)

    def delete(self, workload: Workload) -> None:
        Host.forget(self._folder(workload))

    def status(self, workload: Workload) -> WorkloadStatus:
        run = self._find_run(workload)
        if run is None:
            return self._past(workload)
        if run.active:
            return WorkloadStatus(status=Status.FROZEN if run.frozen else Status.RUNNING, started=run.started)
        return _ended(self._keep_outcome(workload, run))

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        run = self._find_run(workload)
        if run is None:
            outcome = self._past(workload).outcome
            if outcome is None:
                raise WrongState(f"Cannot wait for '{workload.name}': it was never started")
            return outcome
        if not run.ended.wait(timeout):
            raise TimedOut(f"'{workload.name}' did not end within {timeout:g} s")
        return self._keep_outcome(workload, run)

    def logs(
        self, workload: Workload, *, follow: bool = False, tail: int | None = None, since: int = 0, until: int = 0
    ) -> Iterator[LogRecord]:
        log = self._log(workload)
        records, position = log.read(tail=tail, since=since, until=until)
        yield from records
        while follow:
            run = self._find_run(workload)
            # Looked at before the log is read: what was written before the end is yielded before it.
            follow = run is not None and run.active
            for record in log.read_from(position):
                position += 1
                if record.time > since:
                    yield record

    def _begin(self, workload: Workload, streams: Streams | None) -> Run:
        run = self._find_run(workload)
        if run is not None and run.active:
            raise WrongState(f"Cannot start '{workload.name}': it is running")
        command, place = self.command(workload)
        run = Run(self._log(workload))
        self._outcome_file(workload).unlink(missing_ok=True)
        self._started_file(workload).write_text(str(run.started))
        Host.runs[self._folder(workload)] = run
        code = Program.refusal(command)
        if code is not None:
            what = "not found" if code == COMMAND_NOT_FOUND else "not executable"
            run.refuse(code, f"command '{command[0]}' {what}")
            self._keep_outcome(workload, run)
            raise BackendError(f"Cannot start '{workload.name}': command '{command[0]}' {what}")
        run.begin(command, place, streams)
        return run

    def _active(self, workload: Workload, act: str) -> Run:
        run = self._find_run(workload)
        if run is None or not run.active:
            raise WrongState(f"Cannot {act} '{workload.name}': it is not running")
        return run

    def _past(self, workload: Workload) -> WorkloadStatus:
        """What the workload's folder tells of a run that this process did not see."""
        if not self._started_file(workload).exists():
            return WorkloadStatus(status=Status.CREATED)
        outcome = _OUTCOMES.find(self._outcome_file(workload))
        if outcome is None:
            started = int(self._started_file(workload).read_text() or 0)
            outcome = Outcome(result="lost", reason="the process that ran it is gone", started=started)
        return _ended(outcome)

    def _keep_outcome(self, workload: Workload, run: Run) -> Outcome:
        outcome = run.outcome
        assert outcome is not None
        if self._folder(workload).is_dir() and not self._outcome_file(workload).exists():
            _OUTCOMES.write(self._outcome_file(workload), outcome)
        return outcome

    def _find_run(self, workload: Workload) -> Run | None:
        return Host.runs.get(self._folder(workload))

    def _log(self, workload: Workload) -> Log:
        return Host.logs.setdefault(self._folder(workload), Log(console=self.CONSOLE))

    def _folder(self, workload: Workload) -> Path:
        return self.paths.workload(workload.kind, workload.name)

    def _started_file(self, workload: Workload) -> Path:
        return self._folder(workload) / "fake" / "started"

    def _outcome_file(self, workload: Workload) -> Path:
        return self._folder(workload) / "outcome.json"


class DummyContainer(FakeBackend, Exec, Attach, Freeze, Stats, Snapshot, Rename, PastLogs):
    """A container: every facet but limits and ports."""

    NAME = "dummy-container"
    KIND = Kind.CONTAINER

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        spec = _spec(workload, ContainerSpec)
        root = self._folder(workload) / _ROOT
        return spec.command, Place(spec.env, spec.working_dir, root, spec.mounts, spec.resources)

    def stop_signal(self, workload: Workload) -> int:
        return signals.Signals[_spec(workload, ContainerSpec).stop_signal]

    def create(self, workload: Workload) -> None:
        spec = _spec(workload, ContainerSpec)
        for capability, asked in ((Capability.PORTS, spec.ports), (Capability.LIMITS, spec.resources.limited)):
            if asked and not issubclass(type(self), FACETS[capability]):
                raise CapabilityMissing(f"Cannot create '{workload.name}': '{self.NAME}' lacks '{capability}'")
        super().create(workload)
        self.store.checkout(spec.root, self._folder(workload) / _ROOT)

    def exec(
        self,
        workload: Workload,
        command: Sequence[str],
        streams: Streams,
        *,
        env: Mapping[str, str] = {},
        working_dir: str = "",
        user: str = "",
    ) -> Outcome:
        run = self._active(workload, "exec in")
        if run.frozen:
            raise WrongState(f"Cannot exec in '{workload.name}': it is frozen")
        if any("\0" in text for text in (*command, *env, *env.values())):
            raise BackendError(f"Cannot exec in '{workload.name}': embedded null character")
        code = Program.refusal(command)
        now = time.time_ns()
        if code is not None:
            return Outcome(code=code, result="not-started", started=now, finished=now)
        _, place = self.command(workload)
        place = place._replace(env={**place.env, **env}, working_dir=working_dir or place.working_dir)
        program = run.exec(command, place, streams)
        wait_forwarding(program, streams.events)
        return Outcome(
            code=program.code,
            signal=program.signal,
            result="exited" if program.signal is None else "signaled",
            started=now,
            finished=time.time_ns(),
        )

    def run_attached(self, workload: Workload, streams: Streams, started: Callable[[], None]) -> Outcome:
        try:
            run = self._begin(workload, streams)
        finally:
            started()
        assert run.main is not None
        wait_forwarding(run.main, streams.events)
        # Not self.wait(): whoever ends the run may delete the workload at once.
        run.ended.wait()
        return self._keep_outcome(workload, run)

    def freeze(self, workload: Workload) -> None:
        self._active(workload, "freeze").set_frozen(True)

    def thaw(self, workload: Workload) -> None:
        self._active(workload, "thaw").set_frozen(False)

    def stats(self, workload: Workload) -> StatsSample:
        tasks = self._active(workload, "measure").tasks
        return StatsSample(cpu_ns=time.process_time_ns(), memory_bytes=0, tasks=tasks)

    def snapshot(self, workload: Workload) -> str:
        return self.store.put_directory(self._folder(workload) / _ROOT).digest

    def rename(self, workload: Workload, name: str) -> None:
        if self.status(workload).status.active:
            raise WrongState(f"Cannot rename '{workload.name}': it is running")
        Host.move(self._folder(workload), self.paths.workload(workload.kind, name))

    def past_logs(
        self, invocation: str, *, tail: int | None = None, since: int = 0, until: int = 0
    ) -> Iterator[LogRecord]:
        for log in Host.all_logs(self.paths.workloads(self.KIND)):
            yield from log.read(tail=tail, since=since, until=until, invocation=invocation)[0]


class DummyVm(FakeBackend, Freeze):
    """A virtual machine: a console, no exec. Its image names the program that the guest runs."""

    NAME = "dummy-vm"
    KIND = Kind.VM
    CONSOLE = True

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        return shlex.split(_spec(workload, VmSpec).image), Place(root=self._folder(workload) / _ROOT)

    def create(self, workload: Workload) -> None:
        super().create(workload)
        self.store.checkout(_spec(workload, VmSpec).root, self._folder(workload) / _ROOT)

    def freeze(self, workload: Workload) -> None:
        self._active(workload, "freeze").set_frozen(True)

    def thaw(self, workload: Workload) -> None:
        self._active(workload, "thaw").set_frozen(False)


class DummyService(FakeBackend):
    """A service: the life cycle and nothing else."""

    NAME = "dummy-service"
    KIND = Kind.SERVICE

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        spec = _spec(workload, ServiceSpec)
        return spec.command, Place(spec.env)


def _spec(workload: Workload, kind: type[_S]) -> _S:
    if not isinstance(workload.spec, kind):
        raise InvalidSpec(f"'{workload.name}' has the spec of another kind")
    return workload.spec


def _ended(outcome: Outcome) -> WorkloadStatus:
    status = Status.STOPPED if outcome.clean else Status.FAILED
    return WorkloadStatus(status=status, started=outcome.started, outcome=outcome)
