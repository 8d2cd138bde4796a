"""A connection to systemd over D-Bus: calls, and signals that are waited for.

One connection per object, made when it is first needed; every call has a time limit, after which it is systemd that is
reported, not Volt that hangs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from volt_core.config import MAX_SECONDS
from volt_core.errors import BackendError, BackendUnavailable, InvalidConfig, TimedOut
from volt_core.names import shown

if TYPE_CHECKING:
    from jeepney import Message

LIMIT_VARIABLE = "VOLT_SYSTEMD_TIMEOUT"
NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = f"{NAME}.Manager"
_CALL_SECONDS = 25.0
_LONGEST_WAIT = 86_400.0
_NO_REPLY = "org.freedesktop.DBus.Error.NoReply"
_REEXEC_POLL = 0.05


class SystemdError(BackendError):
    """systemd answered with an error; `name` is the one it has on D-Bus."""

    def __init__(self, brief: str, *, name: str = "", details: str | None = None, hint: str | None = None) -> None:
        super().__init__(brief, details=details, hint=hint)
        self.name = name

    @property
    def no_such_unit(self) -> bool:
        """Whether it says that there is no such unit."""
        return self.name == f"{NAME}.NoSuchUnit"


class BusClient:
    """The connection; subclasses know what to say on it."""

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

    def _call(
        self, member: str, signature: str, body: tuple[Any, ...], *, path: str = PATH, interface: str = MANAGER
    ) -> tuple[Any, ...]:
        from jeepney import DBusAddress, MessageType, new_method_call

        address = DBusAddress(path, bus_name=NAME, interface=interface)
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
