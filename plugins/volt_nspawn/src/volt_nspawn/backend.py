"""The nspawn backend: containers as units of systemd."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL
from typing import ClassVar

from volt_core import fs, processes
from volt_core.contracts import (
    Attach,
    Backend,
    Boot,
    Exec,
    Freeze,
    Limits,
    LogRecord,
    Network,
    PastLogs,
    Privileged,
    Probe,
    Restart,
    Stats,
    StatsSample,
    Streams,
)
from volt_core.errors import BackendError, CapabilityMissing, TimedOut, WrongState
from volt_core.images.users import find_identity
from volt_core.models.image import DEFAULT_PATH
from volt_core.models.outcome import Outcome
from volt_core.models.workload import ContainerSpec, Kind, Workload, WorkloadStatus
from volt_core.systemd.bus import JobFailed, Systemd
from volt_core.systemd.journal import read_journal
from volt_core.systemd.libexec import have_programs, install_programs
from volt_core.systemd.machine import find_leader
from volt_core.systemd.transient import build_properties
from volt_core.systemd.unitstate import UnitState
from volt_nspawn import fallback, install, probe, status
from volt_nspawn.argv import NSPAWN
from volt_nspawn.attach import offered
from volt_nspawn.console import power_switch, shown_console
from volt_nspawn.enter import enter
from volt_nspawn.environment import withheld_note
from volt_nspawn.failure import start_error
from volt_nspawn.names import unit_name, unit_pattern
from volt_nspawn.plan import ContainerPlan, attach_socket, plan_container, spec_of
from volt_nspawn.relay import Relay
from volt_nspawn.unit import build_unit

_ANSWER_SECONDS = 30.0
"""In which systemd ends a job whose time is over."""
_LOCK_SECONDS = 300.0
_KILL_SECONDS = 30.0
_LAST_WORDS_SECONDS = 2.0
"""For what a start that failed has said."""
_START_LOCK = ".start"


class NspawnBackend(Backend, Exec, Attach, Freeze, Stats, Limits, Boot, Restart, Privileged, Network, PastLogs):
    """Runs containers under systemd-nspawn: each is one unit, which systemd keeps and Volt only talks about."""

    NAME: ClassVar[str] = "nspawn"
    KIND: ClassVar[Kind] = Kind.CONTAINER
    PRIORITY: ClassVar[int] = 100

    @classmethod
    def probe(cls) -> Probe:
        return probe.probe()

    def create(self, workload: Workload) -> None:
        spec = spec_of(workload)
        if spec.ports:
            raise CapabilityMissing(f"Cannot create '{workload.name}': backend 'nspawn' publishes no ports yet")
        plan = plan_container(workload, self.paths, self.store)
        install.make_directories(plan)
        self._prepare(plan, spec)
        if not workload.auto_remove:
            install.install(plan, self.paths)
            if plan.restart.with_host:
                with Systemd() as systemd:
                    systemd.enable(plan.unit)

    def renew(self, workload: Workload) -> None:
        folder, unit = self._folder(workload), self._unit(workload)
        if workload.auto_remove or not install.is_stale(self.paths, folder, unit):
            return
        with Systemd() as systemd:
            if systemd.look(unit).is_active:
                return
        install.install(plan_container(workload, self.paths, self.store), self.paths)

    def start(self, workload: Workload) -> None:
        with Systemd() as systemd:
            self._start(systemd, workload)

    def run_attached(self, workload: Workload, streams: Streams, started: Callable[[], None]) -> Outcome:
        if spec_of(workload).boot:
            return self._run_console(workload, streams, started)
        if not have_programs():
            started()
            raise fallback.refusal(f"run '{workload.name}' in the foreground")
        unit = self._unit(workload)
        with Systemd() as systemd, Relay(streams, outlives_terminal=True) as relay:
            try:
                with offered(relay, streams, attach_socket(self.paths, workload.name)):
                    invocation = self._start(systemd, workload)
            except BackendError:
                relay.finish(_LAST_WORDS_SECONDS)
                raise
            finally:
                started()
            relay.attend(find_leader(systemd.look(unit).main_pid))
            systemd.await_state(unit, self._has_ended(workload, invocation))
            relay.finish()
        return self._outcome(workload, invocation)

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
        spec = spec_of(workload)
        state = self._active(workload, "exec in")
        if not have_programs():
            raise fallback.refusal(f"exec in '{workload.name}'")
        leader = find_leader(state.main_pid)
        if leader is None or not _is_up(leader) or state.freezer != "running":
            hint = f"Thaw it: volt thaw {workload.name}" if leader is not None else None
            raise WrongState(f"Cannot exec in '{workload.name}': it is frozen or not up yet", hint=hint)
        identity = find_identity(Path(f"/proc/{leader}/root"), user or ("" if spec.boot else spec.user))
        defaults = {"PATH": DEFAULT_PATH, "HOME": identity.home, "HOSTNAME": spec.hostname or workload.name}
        terminal = {"TERM": "xterm"} if streams.tty else {}
        return enter(
            install_programs(self.paths) / "enter",
            leader,
            command,
            streams,
            env={**defaults, **terminal, **spec.env, **env},
            working_dir=working_dir or ("/" if spec.boot else spec.working_dir) or "/",
            user=f"{identity.uid}:{identity.gid}",
        )

    def stop(self, workload: Workload, timeout: float) -> None:
        unit = self._unit(workload)
        with Systemd() as systemd:
            state = systemd.look(unit)
            if not state.is_active:
                return
            if state.freezer != "running":
                # systemd 257 stops no frozen unit, and one killed while it was frozen ended systemd itself.
                systemd.thaw(unit)
            systemd.stop(unit, patience=timeout, timeout=_KILL_SECONDS)

    def kill(self, workload: Workload, signal: int) -> None:
        pid = self.status(workload).pid
        if pid is None:
            raise WrongState(f"Cannot signal '{workload.name}': it is not running")
        if spec_of(workload).boot and signal == SIGKILL:
            # Without its init nspawn ends with 1, which the init might have ended with by itself.
            with Systemd() as systemd:
                systemd.kill(self._unit(workload), SIGKILL)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal)

    def delete(self, workload: Workload) -> None:
        unit = self._unit(workload)
        install.remove(self.paths, workload.name)
        install.remove_unfinished(self.paths, workload.name)
        with Systemd() as systemd:
            systemd.reset_failed(unit)
            # One that starts with the host is remembered by what wants it.
            systemd.reload_if_needed([unit])

    def status(self, workload: Workload) -> WorkloadStatus:
        with Systemd() as systemd:
            return self._status(systemd, workload, systemd.look(self._unit(workload)))

    def statuses(self, workloads: Sequence[Workload]) -> Mapping[str, WorkloadStatus]:
        with Systemd() as systemd:
            active = systemd.active_units(unit_pattern(self.paths))
            return {
                workload.name: self._status(
                    systemd, workload, systemd.look(unit) if (unit := self._unit(workload)) in active else None
                )
                for workload in workloads
            }

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        with Systemd() as systemd:
            unit = self._unit(workload)
            invocation = systemd.look(unit).invocation
            ended = self._has_ended(workload, invocation)
            if spec_of(workload).boot or spec_of(workload).restart.policy != "no":
                # What systemd starts again has not ended for whoever waits: the last run is the one that counts.
                def ended(state: UnitState) -> bool:
                    nonlocal invocation
                    invocation = state.invocation or invocation
                    return not state.is_active

            if systemd.await_state(unit, ended, timeout) is None:
                raise TimedOut(f"'{workload.name}' did not end within {timeout or 0:g} s")
        return self._outcome(workload, invocation)

    def logs(
        self, workload: Workload, *, follow: bool = False, tail: int | None = None, since: int = 0, until: int = 0
    ) -> Iterator[LogRecord]:
        matches = [f"VOLT_WORKLOAD_ID={workload.id}"]
        is_active = (lambda: self.status(workload).status.active) if follow else None
        return read_journal(matches, is_active=is_active, tail=tail, since=since, until=until)

    def past_logs(
        self, invocation: str, *, tail: int | None = None, since: int = 0, until: int = 0
    ) -> Iterator[LogRecord]:
        matches = [f"_SYSTEMD_INVOCATION_ID={invocation}"]
        return read_journal(matches, units=unit_pattern(self.paths), tail=tail, since=since, until=until)

    def freeze(self, workload: Workload) -> None:
        self._active(workload, "freeze")
        with Systemd() as systemd:
            systemd.freeze(self._unit(workload))

    def thaw(self, workload: Workload) -> None:
        self._active(workload, "thaw")
        with Systemd() as systemd:
            systemd.thaw(self._unit(workload))

    def stats(self, workload: Workload) -> StatsSample:
        state = self._active(workload, "measure", Systemd.show)
        found = processes.descendants(state.main_pid)
        memory = sum(stat.memory_bytes for stat in found) if state.memory_bytes is None else state.memory_bytes
        tasks = sum(stat.threads for stat in found if stat.alive) if state.tasks is None else state.tasks
        return StatsSample(cpu_ns=state.cpu_ns, memory_bytes=memory, tasks=tasks)

    def _run_console(self, workload: Workload, streams: Streams, started: Callable[[], None]) -> Outcome:
        """Show what the init and what it starts write to the console, and power off at the caller's signals."""
        read = functools.partial(read_journal, [f"VOLT_WORKLOAD_ID={workload.id}"], since=time.time_ns())
        with (
            shown_console(read, streams.stdout),
            power_switch(streams.events, lambda seconds: self.stop(workload, seconds), spec_of(workload).stop_timeout),
        ):
            try:
                self.start(workload)
            finally:
                started()
            return self.wait(workload)

    def _unit(self, workload: Workload) -> str:
        return unit_name(self.paths, workload.name)

    def _folder(self, workload: Workload) -> Path:
        return self.paths.workload(workload.kind, workload.name)

    def _start(self, systemd: Systemd, workload: Workload) -> str:
        """Start it and return the invocation, by which the run is told from others."""
        # To start what is starting is no error for systemd: both callers would be told that it was they.
        with fs.lock(
            self._folder(workload) / _START_LOCK, timeout=_LOCK_SECONDS, what=f"the start of '{workload.name}'"
        ):
            return self._start_alone(systemd, workload)

    def _start_alone(self, systemd: Systemd, workload: Workload) -> str:
        plan, began = plan_container(workload, self.paths, self.store), time.time_ns()
        if systemd.look(plan.unit).is_active:
            raise WrongState(
                f"Cannot start '{workload.name}': it is running", hint=f"Stop it first: volt stop {workload.name}"
            )
        self._prepare(plan, spec_of(workload))
        timeout = plan.start_timeout + plan.stop_timeout + _ANSWER_SECONDS
        try:
            if workload.auto_remove:
                install_programs(self.paths)
                properties = build_properties(build_unit(plan, transient=True))
                systemd.start_transient(plan.unit, properties, timeout=timeout)
            else:
                install.install(plan, self.paths)
                install.remove_unfinished(self.paths, plan.name)
                # A start by hand is no restart that counts.
                systemd.reset_failed(plan.unit)
                systemd.reload_if_needed([plan.unit])
                systemd.run_job("StartUnit", plan.unit, timeout=timeout)
        except JobFailed as error:
            raise start_error(plan, error, began) from error
        # It may be over already, and systemd has forgotten it then.
        state = systemd.look(plan.unit)
        outcome = None if state.is_active else status.last_outcome(plan.folder)
        return outcome.invocation if outcome is not None else state.invocation

    def _prepare(self, plan: ContainerPlan, spec: ContainerSpec) -> None:
        if plan.scripted:
            fallback.write_exports(plan.folder, plan.passed, spec.env)

    def _status(self, systemd: Systemd, workload: Workload, unit: UnitState | None) -> WorkloadStatus:
        folder = self._folder(workload)
        spec = spec_of(workload)
        boot = spec.boot
        note = "" if workload.auto_remove else install.note(self.paths, folder, self._unit(workload))
        note = note or _standing_note(spec)
        found = status.status_of(folder, unit, boot=boot, note=note)
        if found.outcome is not None and found.outcome.result == "lost":
            # Or it was started after systemd was asked.
            found = status.status_of(folder, systemd.look(self._unit(workload)), boot=boot, note=note)
        return found

    def _active(
        self, workload: Workload, act: str, ask: Callable[[Systemd, str], UnitState] = Systemd.look
    ) -> UnitState:
        with Systemd() as systemd:
            state = ask(systemd, self._unit(workload))
        if not state.is_active:
            raise WrongState(
                f"Cannot {act} '{workload.name}': it is not running", hint=f"Start it: volt start {workload.name}"
            )
        return state

    def _has_ended(self, workload: Workload, invocation: str) -> Callable[[UnitState], bool]:
        """Return what tells of the unit's state whether that run is over, also if another has begun."""
        folder = self._folder(workload)

        def ended(state: UnitState) -> bool:
            if not state.is_active or state.invocation != invocation:
                return True
            # Kept before the unit is done, and until then nobody can start or delete it.
            return state.active != "deactivating" and status.has_kept(folder, invocation)

        return ended

    def _outcome(self, workload: Workload, invocation: str) -> Outcome:
        outcome = status.outcome_of(self._folder(workload), invocation)
        if outcome is None:
            raise WrongState(f"Cannot wait for '{workload.name}': it was never started")
        return outcome


def _standing_note(spec: ContainerSpec) -> str:
    scripted = not have_programs()
    withheld = withheld_note(spec.env, scripted) if spec.boot or scripted else ""
    return "; ".join(filter(None, [fallback.NOTE if scripted else "", withheld]))


def _is_up(leader: int) -> bool:
    """Tell whether the first process of a container is its own by now, and confined.

    Until it is executed it is nspawn's, which can do all that root can. With an init that does not tell when it is
    ready, the unit is active before.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return not os.path.samestat(os.stat(f"/proc/{leader}/exe"), os.stat(NSPAWN))
    return False
