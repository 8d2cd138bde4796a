"""systemd over D-Bus: jobs that are awaited, states, transient units.

The interface is org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import structs

from volt_core import fs
from volt_core.errors import BackendError, TimedOut
from volt_core.systemd.client import MANAGER, NAME, PATH, BusClient, SystemdError
from volt_core.systemd.unitstate import ACTIVE, GONE, UnitState, read_state

_RUNTIME_UNITS = Path("/run/systemd/system")
_STOP_DROP_IN = "90-volt-stop.conf"
_UNIT = f"{NAME}.Unit"
_SERVICE = f"{NAME}.Service"
_PROPERTIES = "org.freedesktop.DBus.Properties"

_NOTHING_THERE = (f"{NAME}.NoSuchUnit", f"{NAME}.NoSuchProcess")

_ONE_RELOADS = threading.Lock()

Act = Literal["StartUnit", "StopUnit", "RestartUnit"]


class JobFailed(BackendError):
    """A job ended otherwise than well; `result` is systemd's word for how."""

    def __init__(self, unit: str, result: str) -> None:
        super().__init__(f"systemd could not start or stop '{unit}': {result}", hint=f"See: systemctl status {unit}")
        self.result = result


class Systemd(BusClient):
    """The host's service manager."""

    # Jobs

    def run_job(self, act: Act, unit: str, *, timeout: float, mode: str = "replace") -> None:
        """Carry out a job and wait for its end. Raises :class:`JobFailed`, :class:`TimedOut`."""
        self.run_jobs(act, [unit], timeout=timeout, mode=mode)

    def run_jobs(self, act: Act, units: Sequence[str], *, timeout: float, mode: str = "replace") -> None:
        """Carry out jobs in parallel and wait for all; the first failure is raised when all have ended."""
        with self._job_ends() as ends:
            paths = {self._call(act, "ss", (unit, mode))[0]: unit for unit in units}
            self._await_jobs(ends, paths, timeout)

    def start_transient(
        self, unit: str, properties: Sequence[tuple[str, tuple[str, Any]]], *, timeout: float, mode: str = "fail"
    ) -> None:
        """Start a unit that no file describes; its properties are names and typed values (signature, value)."""
        with self._job_ends() as ends:
            path = self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, mode, list(properties), []))[0]
            self._await_jobs(ends, {path: unit}, timeout)

    def stop(self, unit: str, *, patience: float, timeout: float) -> None:
        """Stop a unit; what has not ended after `patience` seconds is killed, and has `timeout` more to be gone.

        systemd kills by itself after the unit's TimeoutStopSec=. Where that is shorter, a drop-in raises it for this
        boot: a property that systemd lets nobody set on a unit that runs. A unit that is not there any more is stopped.
        """
        state = self.show(unit)
        if state.stop_seconds is not None and state.stop_seconds < patience:
            self._raise_stop_timeout(unit, patience)
        with self._job_ends() as ends, self._unless_missing():
            paths = {self._call("StopUnit", "ss", (unit, "replace"))[0]: unit}
            try:
                self._await_jobs(ends, paths, patience)
            except TimedOut:
                # systemd kills the others when the main process is gone. What runs after that keeps how it ended: it
                # is not to be killed, nor is anything that systemd 257 starts in a cgroup it has killed as a whole.
                self.kill(unit, signal.SIGKILL)
                self._await_jobs(ends, paths, timeout)

    def _raise_stop_timeout(self, unit: str, seconds: float) -> None:
        drop_in = _RUNTIME_UNITS / f"{unit}.d" / _STOP_DROP_IN
        drop_in.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fs.write_atomic(drop_in, f"[Service]\nTimeoutStopSec={seconds:.3f}\n".encode())
        try:
            self.reload()
        finally:
            # Read once is enough: the next start or reload is by the unit's own.
            forget_stop_timeout(unit)

    @contextlib.contextmanager
    def _job_ends(self) -> Iterator[Any]:
        from jeepney import MatchRule

        rule = MatchRule(type="signal", interface=MANAGER, member="JobRemoved", path=PATH)
        with self._signals(rule) as queue:
            yield queue

    def _await_jobs(self, ends: Any, paths: Mapping[str, str], timeout: float) -> None:
        waiting = dict(paths)
        failed: JobFailed | None = None
        deadline = time.monotonic() + timeout
        while waiting:
            message = self._next(ends, deadline)
            if message is None:
                raise TimedOut(
                    f"systemd does not report the job of '{next(iter(waiting.values()))}' within {timeout:g} s",
                    hint="See: systemctl list-jobs",
                )
            _, path, unit, result = message.body
            if waiting.pop(path, None) is not None and result != "done" and failed is None:
                failed = JobFailed(unit, result)
        if failed is not None:
            raise failed

    # States

    def show(self, unit: str) -> UnitState:
        """Return what systemd knows of a service, whether there is one or not, by one question."""
        try:
            return self._state(unit, "")  # of all interfaces
        except SystemdError as error:
            return _gone(error)

    def look(self, unit: str) -> UnitState:
        """Return the state of a service, for a quarter of the time that :meth:`show` takes.

        How it ended, what it uses and its time limit are left out: four hundred properties of a service are read for
        them, some from the cgroup.
        """
        try:
            state = self._state(unit, _UNIT)
            return structs.replace(state, main_pid=self._get(unit, _SERVICE, "MainPID")) if state.is_active else state
        except SystemdError as error:
            return _gone(error)

    def active_units(self, pattern: str) -> set[str]:
        """Return the names of the units whose name matches and that are active or about to be, by one question."""
        found = self._call("ListUnitsByPatterns", "asas", ([], [pattern]))[0]
        return {name for name, _, _, active, *_ in found if active in ACTIVE}

    def await_state(
        self, unit: str, condition: Callable[[UnitState], bool], timeout: float | None = None
    ) -> UnitState | None:
        """Block until `condition` holds and return the state for which it did; None if that took too long.

        The state is as :meth:`look` gives it.
        """
        from jeepney import MatchRule

        rule = MatchRule(type="signal", interface=_PROPERTIES, member="PropertiesChanged", path=unit_path(unit))
        removed = MatchRule(type="signal", interface=MANAGER, member="UnitRemoved", path=PATH)
        deadline = None if timeout is None else time.monotonic() + timeout
        # Signals of both kinds are news, and what they say is looked up: the state now is what counts.
        with self._signals(rule) as changes, self._signals(removed, queue=changes):
            while not condition(state := self.look(unit)):
                if self._next(changes, deadline) is None:
                    return None
        return state

    # Acts

    def reload(self) -> None:
        """Let systemd read all unit files again: up to half a second on a full host."""
        self._call("Reload", "", ())

    def reload_if_needed(self, units: Iterable[str]) -> None:
        """Reload once if the file of any of the units has changed since systemd read it.

        Threads of this process ask one after the other: what one of them reloads, it reloads for all.
        """
        with _ONE_RELOADS:
            if any(self._get(unit, _UNIT, "NeedDaemonReload") for unit in units):
                self.reload()

    def reset_failed(self, unit: str) -> None:
        """Forget failures, also those that count against the start limit. Nothing to forget is success."""
        with self._unless_missing():
            self._call("ResetFailedUnit", "s", (unit,))

    def kill(self, unit: str, number: int) -> None:
        """Send a signal to the main process of a unit; none is success."""
        with self._unless_missing():
            self._call("KillUnit", "ssi", (unit, "main", number))

    def freeze(self, unit: str) -> None:
        """Suspend all processes of a unit."""
        self._call("FreezeUnit", "s", (unit,))

    def thaw(self, unit: str) -> None:
        """Let them go on."""
        self._call("ThawUnit", "s", (unit,))

    def enable(self, unit: str) -> None:
        """Start the unit with the host, as its [Install] section says."""
        self._call("EnableUnitFiles", "asbb", ([unit], False, True))

    def disable(self, unit: str) -> None:
        """Do not start it with the host any more."""
        self._call("DisableUnitFiles", "asb", ([unit], False))

    # D-Bus

    def _state(self, unit: str, interface: str) -> UnitState:
        # A path that is asked for makes systemd load the unit.
        values = self._call("GetAll", "s", (interface,), path=unit_path(unit), interface=_PROPERTIES)[0]
        return read_state({name: value for name, (_, value) in values.items()})

    def _get(self, unit: str, interface: str, name: str) -> Any:
        return self._call("Get", "ss", (interface, name), path=unit_path(unit), interface=_PROPERTIES)[0][1]

    @contextlib.contextmanager
    def _unless_missing(self) -> Iterator[None]:
        try:
            yield
        except SystemdError as error:
            if error.name not in _NOTHING_THERE:
                raise


def forget_stop_timeout(unit: str) -> None:
    """Remove the drop-in that raised a unit's patience, which a command that was killed has left. None is success."""
    drop_in = _RUNTIME_UNITS / f"{unit}.d" / _STOP_DROP_IN
    fs.remove_unfinished(drop_in)
    drop_in.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        drop_in.parent.rmdir()


def unit_path(unit: str) -> str:
    """Return the path of a unit's object: each byte but letters and digits as ``_`` and two hex digits."""
    escaped = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 and not (at == 0 and chr(byte).isdigit()) else f"_{byte:02x}"
        for at, byte in enumerate(unit.encode())
    )
    return f"{PATH}/unit/{escaped}"


def _gone(error: SystemdError) -> UnitState:
    """Return the state of a unit that is not there; raise any other error."""
    if error.no_such_unit:
        return GONE
    raise error
