"""systemd over D-Bus: jobs that are awaited, states, transient units.

The interface is org.freedesktop.systemd1(5). One connection per object, made when it is first needed;
every call has a time limit, after which it is systemd that is reported, not Volt that hangs.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from volt_core.errors import BackendError, BackendUnavailable, TimedOut

if TYPE_CHECKING:
    from jeepney import Message

CALL_SECONDS = 25.0
_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = f"{_NAME}.Manager"
_UNIT = f"{_NAME}.Unit"
_SERVICE = f"{_NAME}.Service"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_ACTIVE = frozenset({"active", "activating", "deactivating", "reloading", "refreshing"})

Act = Literal["StartUnit", "StopUnit", "RestartUnit"]


class SystemdError(BackendError):
    """systemd answered with an error; `name` is the one it has on D-Bus."""

    def __init__(self, brief: str, *, name: str = "", details: str | None = None, hint: str | None = None) -> None:
        super().__init__(brief, details=details, hint=hint)
        self.name = name

    @property
    def no_such_unit(self) -> bool:
        """Whether it says that there is no such unit."""
        return self.name == f"{_NAME}.NoSuchUnit"


class JobFailed(BackendError):
    """A job ended otherwise than well; `result` is systemd's word for how."""

    def __init__(self, unit: str, result: str) -> None:
        super().__init__(f"systemd could not start or stop '{unit}': {result}", hint=f"See: systemctl status {unit}")
        self.result = result


class UnitState(msgspec.Struct, frozen=True, kw_only=True):
    """What systemd says of a unit."""

    load: str
    active: str
    sub: str
    result: str = ""
    main_pid: int = 0
    invocation: str = ""
    freezer: str = "running"
    need_reload: bool = False
    fragment: str = ""
    entered: int = 0
    """Nanoseconds since the epoch when it last became active."""
    cpu_ns: int = 0
    memory_bytes: int | None = None
    """None where the memory controller is not there."""
    tasks: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether processes of the unit exist, or are about to."""
        return self.active in _ACTIVE


_GONE = UnitState(load="not-found", active="inactive", sub="dead")
_UNSET = 2**64 - 1


class Systemd:
    """The host's service manager."""

    def __init__(self) -> None:
        self._subscribed = False

    @functools.cached_property
    def _connection(self) -> Any:
        from jeepney.io.blocking import open_dbus_connection

        try:
            return open_dbus_connection(bus="SYSTEM")
        except OSError as error:
            raise BackendUnavailable(
                f"Cannot reach the system bus: {error}", hint="Install the package dbus, and see: systemctl status dbus"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        if "_connection" in self.__dict__:
            self._connection.close()
            del self._connection
        self._subscribed = False

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

    @contextlib.contextmanager
    def _job_ends(self) -> Iterator[Any]:
        from jeepney import MatchRule

        rule = MatchRule(type="signal", interface=_MANAGER, member="JobRemoved", path=_PATH)
        with self._signals(rule) as queue:
            yield queue

    def _await_jobs(self, ends: Any, paths: Mapping[str, str], timeout: float) -> None:
        waiting = dict(paths)
        failed: JobFailed | None = None
        deadline = time.monotonic() + timeout
        while waiting:
            message = self._next(ends, deadline, f"the job of '{next(iter(waiting.values()))}'", timeout)
            _, path, unit, result = message.body
            if waiting.pop(path, None) is not None and result != "done" and failed is None:
                failed = JobFailed(unit, result)
        if failed is not None:
            raise failed

    # States

    def show(self, unit: str) -> UnitState:
        """Return what systemd knows of a unit, whether there is one or not."""
        path = self._call("LoadUnit", "s", (unit,))[0]
        try:
            general = self._properties(path, _UNIT)
            service = self._properties(path, _SERVICE) if unit.endswith(".service") else {}
        except SystemdError:
            return _GONE  # unloaded between the two calls
        return UnitState(
            load=general["LoadState"],
            active=general["ActiveState"],
            sub=general["SubState"],
            result=service.get("Result", ""),
            main_pid=service.get("MainPID", 0),
            invocation=bytes(general["InvocationID"]).hex(),
            freezer=general.get("FreezerState", "running"),
            need_reload=general["NeedDaemonReload"],
            fragment=general["FragmentPath"],
            entered=general["InactiveExitTimestamp"] * 1000,
            cpu_ns=_known(service.get("CPUUsageNSec", 0)) or 0,
            memory_bytes=_known(service.get("MemoryCurrent", _UNSET)),
            tasks=_known(service.get("TasksCurrent", _UNSET)),
        )

    def active_units(self, pattern: str) -> set[str]:
        """Return the names of the units whose name matches and that are active or about to be, by one question."""
        found = self._call("ListUnitsByPatterns", "asas", ([], [pattern]))[0]
        return {name for name, _, _, active, *_ in found if active in _ACTIVE}

    def await_inactive(self, unit: str, timeout: float | None = None) -> None:
        """Block until the unit is not active. Raises :class:`TimedOut`."""
        from jeepney import MatchRule

        path = self._call("LoadUnit", "s", (unit,))[0]
        rule = MatchRule(type="signal", interface=_PROPERTIES, member="PropertiesChanged", path=path)
        removed = MatchRule(type="signal", interface=_MANAGER, member="UnitRemoved", path=_PATH)
        deadline = None if timeout is None else time.monotonic() + timeout
        # Signals of both kinds are news, and what they say is looked up: the state now is what counts.
        with self._signals(rule) as changes, self._signals(removed, queue=changes):
            while self.show(unit).is_active:
                self._next(changes, deadline, f"the end of '{unit}'", timeout or 0)

    # Acts

    def reload(self) -> None:
        """Let systemd read all unit files again: up to half a second on a full host."""
        self._call("Reload", "", ())

    def reload_if_needed(self, units: Iterable[str]) -> None:
        """Reload once if the file of any of the units has changed since systemd read it."""
        if any(self.show(unit).need_reload for unit in units):
            self.reload()

    def reset_failed(self, unit: str) -> None:
        """Forget failures, also those that count against the start limit. Nothing to forget is success."""
        with self._unless_missing():
            self._call("ResetFailedUnit", "s", (unit,))

    def kill(self, unit: str, signal: int) -> None:
        """Send a signal to all processes of a unit; none is success."""
        with self._unless_missing():
            self._call("KillUnit", "ssi", (unit, "all", signal))

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

    def _properties(self, path: str, interface: str) -> dict[str, Any]:
        values = self._call("GetAll", "s", (interface,), path=path, interface=_PROPERTIES)[0]
        return {name: value for name, (_, value) in values.items()}

    def _call(
        self, member: str, signature: str, body: tuple[Any, ...], *, path: str = _PATH, interface: str = _MANAGER
    ) -> tuple[Any, ...]:
        from jeepney import DBusAddress, MessageType, new_method_call

        address = DBusAddress(path, bus_name=_NAME, interface=interface)
        reply = self._answer(new_method_call(address, member, signature or None, body))
        if reply.header.message_type is MessageType.error:
            name = str(reply.header.fields.get(4, ""))
            said = reply.body[0] if reply.body and isinstance(reply.body[0], str) else name
            raise SystemdError(f"systemd refused {member}: {said}", name=name)
        answer: tuple[Any, ...] = reply.body
        return answer

    def _answer(self, message: Message) -> Message:
        try:
            reply: Message = self._connection.send_and_get_reply(message, timeout=CALL_SECONDS)
        except TimeoutError as error:
            raise _no_answer(CALL_SECONDS) from error
        except (OSError, EOFError) as error:
            self.close()
            raise BackendError(f"Lost the connection to systemd: {error}") from error
        return reply

    @contextlib.contextmanager
    def _signals(self, rule: Any, queue: Any = None) -> Iterator[Any]:
        from jeepney.bus_messages import message_bus

        if not self._subscribed:
            # Without a subscriber systemd sends no signals of units and jobs.
            self._call("Subscribe", "", ())
            self._subscribed = True
        self._answer(message_bus.AddMatch(rule))
        try:
            with self._connection.filter(rule, queue=queue, bufsize=4096) as received:
                yield received
        finally:
            with contextlib.suppress(BackendError):
                self._answer(message_bus.RemoveMatch(rule))

    def _next(self, queue: Any, deadline: float | None, what: str, timeout: float) -> Message:
        try:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            message: Message = self._connection.recv_until_filtered(queue, timeout=left)
        except TimeoutError as error:
            raise TimedOut(
                f"systemd does not report {what} within {timeout:g} s", hint="See: systemctl list-jobs"
            ) from error
        return message

    @contextlib.contextmanager
    def _unless_missing(self) -> Iterator[None]:
        try:
            yield
        except SystemdError as error:
            if not error.no_such_unit:
                raise


def _known(value: int) -> int | None:
    return None if value == _UNSET else value


def _no_answer(seconds: float) -> TimedOut:
    return TimedOut(
        f"systemd does not answer within {seconds:g} s",
        hint="See: systemctl is-system-running; journalctl -b -u init.scope",
    )
