"""systemd over D-Bus: jobs that are awaited, states, transient units.

The interface is org.freedesktop.systemd1(5). One connection per object, made when it is first needed;
every call has a time limit, after which it is systemd that is reported, not Volt that hangs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from msgspec import structs

from volt_core import fs
from volt_core.config import MAX_SECONDS
from volt_core.errors import BackendError, BackendUnavailable, InvalidConfig, TimedOut
from volt_core.names import shown
from volt_core.systemd.unitstate import ACTIVE, GONE, UnitState, read_state

if TYPE_CHECKING:
    from jeepney import Message

LIMIT_VARIABLE = "VOLT_SYSTEMD_TIMEOUT"
_CALL_SECONDS = 25.0
_LONGEST_WAIT = 86_400.0
_RUNTIME_UNITS = Path("/run/systemd/system")
_STOP_DROP_IN = "90-volt-stop.conf"
_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = f"{_NAME}.Manager"
_UNIT = f"{_NAME}.Unit"
_SERVICE = f"{_NAME}.Service"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_NO_REPLY = "org.freedesktop.DBus.Error.NoReply"
_REEXEC_POLL = 0.05

_NOTHING_THERE = (f"{_NAME}.NoSuchUnit", f"{_NAME}.NoSuchProcess")

Act = Literal["StartUnit", "StopUnit", "RestartUnit"]
Whom = Literal["all", "main"]


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


class Systemd:
    """The host's service manager."""

    def __init__(self) -> None:
        self._subscribed = False
        self._seconds = _limit()

    @functools.cached_property
    def _connection(self) -> Any:
        hint = "Install the package dbus, and see: systemctl status dbus"
        try:
            return _connect(self._seconds)
        except TimeoutError as error:
            raise TimedOut(f"The system bus does not answer within {self._seconds:g} s", hint=hint) from error
        except (OSError, EOFError, ValueError) as error:
            raise BackendUnavailable(f"Cannot reach the system bus: {error}", hint=hint) from error

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

    def stop(self, unit: str, *, patience: float, timeout: float, whom: Whom = "all") -> None:
        """Stop a unit; what has not ended after `patience` seconds is killed, and has `timeout` more to be gone.

        A unit with ExecStop= needs "main" for `whom`: where systemd 257 has killed the cgroup of that as a whole, the
        kernel kills what is started in it afterwards too, ExecStopPost= above all.

        systemd kills by itself after the unit's TimeoutStopSec=. Where that is shorter, a drop-in raises it for this
        boot: a property that systemd lets nobody set on a unit that runs.
        """
        state = self.show(unit)
        if state.stop_seconds is not None and state.stop_seconds < patience:
            self._raise_stop_timeout(unit, patience)
        with self._job_ends() as ends:
            paths = {self._call("StopUnit", "ss", (unit, "replace"))[0]: unit}
            try:
                self._await_jobs(ends, paths, patience)
            except TimedOut:
                # What runs after the end of the main process keeps how that ended: it is not to be killed.
                if self.show(unit).sub != "stop-post":
                    self.kill(unit, signal.SIGKILL, whom)
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

        rule = MatchRule(type="signal", interface=_MANAGER, member="JobRemoved", path=_PATH)
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
        removed = MatchRule(type="signal", interface=_MANAGER, member="UnitRemoved", path=_PATH)
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
        """Reload once if the file of any of the units has changed since systemd read it."""
        if any(self._get(unit, _UNIT, "NeedDaemonReload") for unit in units):
            self.reload()

    def reset_failed(self, unit: str) -> None:
        """Forget failures, also those that count against the start limit. Nothing to forget is success."""
        with self._unless_missing():
            self._call("ResetFailedUnit", "s", (unit,))

    def kill(self, unit: str, number: int, whom: Whom = "all") -> None:
        """Send a signal to all processes of a unit, or to the main one; none is success."""
        with self._unless_missing():
            self._call("KillUnit", "ssi", (unit, whom, number))

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

    def _call(
        self, member: str, signature: str, body: tuple[Any, ...], *, path: str = _PATH, interface: str = _MANAGER
    ) -> tuple[Any, ...]:
        from jeepney import DBusAddress, MessageType, new_method_call

        address = DBusAddress(path, bus_name=_NAME, interface=interface)
        deadline = time.monotonic() + self._seconds
        while True:
            reply = self._answer(new_method_call(address, member, signature or None, body))
            if reply.header.message_type is not MessageType.error:
                answer: tuple[Any, ...] = reply.body
                return answer
            name = str(reply.header.fields.get(4, ""))
            if name != _NO_REPLY or time.monotonic() > deadline:
                said = reply.body[0] if reply.body and isinstance(reply.body[0], str) else name
                raise SystemdError(f"systemd refused {member}: {said}", name=name)
            # systemd executes itself anew (daemon-reexec). What it has carried out it has answered before.
            time.sleep(_REEXEC_POLL)

    def _answer(self, message: Message) -> Message:
        try:
            reply: Message = self._connection.send_and_get_reply(message, timeout=self._seconds)
        except TimeoutError as error:
            # An answer that comes late would be taken for the next one's.
            self.close()
            raise _no_answer(self._seconds) from error
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

    def _next(self, queue: Any, deadline: float | None) -> Message | None:
        """Return the next signal, or None if there is none before the deadline."""
        while True:
            left = _LONGEST_WAIT if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                # epoll refuses what is longer than some weeks.
                message: Message = self._connection.recv_until_filtered(queue, timeout=min(left, _LONGEST_WAIT))
            except TimeoutError:
                if left < _LONGEST_WAIT:
                    return None
            except (OSError, EOFError) as error:
                self.close()
                raise BackendError(f"Lost the connection to systemd: {error}") from error
            else:
                return message

    @contextlib.contextmanager
    def _unless_missing(self) -> Iterator[None]:
        try:
            yield
        except SystemdError as error:
            if error.name not in _NOTHING_THERE:
                raise


def _connect(seconds: float) -> Any:
    from jeepney.bus import get_bus
    from jeepney.io.blocking import DBusConnection, prep_socket

    class Connection(DBusConnection):  # type: ignore[misc]
        """One whose first call, made by the constructor, has a time limit too."""

        def send_and_get_reply(self, message: Message, *, timeout: float | None = None) -> Message:
            reply: Message = super().send_and_get_reply(message, timeout=timeout or seconds)
            return reply

    sock = prep_socket(get_bus("SYSTEM"), timeout=seconds)
    try:
        return Connection(sock)
    except BaseException:
        sock.close()
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
    return f"{_PATH}/unit/{escaped}"


def _gone(error: SystemdError) -> UnitState:
    """Return the state of a unit that is not there; raise any other error."""
    if error.no_such_unit:
        return GONE
    raise error


def _limit() -> float:
    """Return how many seconds systemd and the bus are given for an answer."""
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        seconds = float(text) if text else _CALL_SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_SECONDS:
        raise InvalidConfig(f"Invalid {LIMIT_VARIABLE}={shown(text)}", hint="Give a number of seconds, as 25.")
    return seconds


def _no_answer(seconds: float) -> TimedOut:
    return TimedOut(
        f"systemd does not answer within {seconds:g} s",
        hint="See: systemctl is-system-running; journalctl -b -u init.scope",
    )
