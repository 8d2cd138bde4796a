"""The caller's side of a foreground run: what he types, what he reads, and the signals he gets."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final

from volt_core.contracts.backend import Streams
from volt_core.supervisor.control import Connection
from volt_core.supervisor.model import Answer, Ended, Failed, Resize, Signal

_FORWARDED: Final = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT}
)
_READ_SIZE = 64 * 1024
_END_OF_FILE = b"\x04"


@contextlib.contextmanager
def stream_fds(streams: Streams) -> Iterator[tuple[tuple[int, ...], socket.socket | None]]:
    """Yield the descriptors to pass on, and with a tty our end of the socket to it."""
    if not streams.tty:
        yield (streams.stdin, streams.stdout, streams.stderr), None
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield (theirs.fileno(),), ours


class Conversation:
    """Serves a caller until his process has ended.

    Without a terminal the process has the caller's descriptors and only signals pass here. With one,
    `terminal` is our end of a socket to it. `started` is called once: when the process runs, or at the
    latest when it turned out not to.
    """

    def __init__(
        self,
        connection: Connection,
        streams: Streams,
        terminal: socket.socket | None,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._streams = streams
        self._terminal = terminal
        self._typed = b""
        self._input_open = terminal is not None
        self._events_open = streams.events is not None
        self._started = started
        self._answer: Answer | None = None
        self._over = False

    def hold(self) -> Ended | Failed | None:
        """Return how it ended, once all its output is delivered; None if the supervisor is gone."""
        try:
            while not self._over:
                self._turn()
        finally:
            self._tell_started()
        while self._terminal is not None and self._print(self._terminal):
            pass
        return self._answer if isinstance(self._answer, Ended | Failed) else None

    def _turn(self) -> None:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if self._events_open and self._streams.events is not None:
            poll.register(self._streams.events, select.POLLIN)
        if self._terminal is not None:
            poll.register(self._terminal, select.POLLIN | (select.POLLOUT if self._typed else 0))
            if self._input_open and not self._typed:
                poll.register(self._streams.stdin, select.POLLIN)
        ready = dict(poll.poll())
        if self._streams.events is not None and self._events_open and self._streams.events in ready:
            self._take_events(self._streams.events)
        if self._terminal is not None:
            happened = ready.get(self._terminal.fileno(), 0)
            if happened & select.POLLOUT:
                self._type(self._terminal)
            if happened & ~select.POLLOUT:
                self._print(self._terminal)
            if self._streams.stdin in ready:
                self._read_input()
        if self._connection.fileno() in ready:
            self._answer = self._connection.receive_answer()
            self._over = self._answer is None or isinstance(self._answer, Ended | Failed)
            self._tell_started()

    def _tell_started(self) -> None:
        told, self._started = self._started, lambda: None
        told()

    def _take_events(self, events: int) -> None:
        data = os.read(events, _READ_SIZE)
        self._events_open = bool(data)
        for number in data:
            if number == signal.SIGWINCH and self._terminal is not None:
                # What stands at stdin may be no terminal; then there is no news.
                with contextlib.suppress(OSError):
                    size = os.get_terminal_size(self._streams.stdin)
                    self._ask(Resize(rows=size.lines, columns=size.columns))
            elif number in _FORWARDED:
                self._ask(Signal(number=number))

    def _ask(self, request: Resize | Signal) -> None:
        # It may have ended a moment ago; its answer is on the way then.
        with contextlib.suppress(OSError):
            self._connection.send(request)

    def _read_input(self) -> None:
        try:
            self._typed = os.read(self._streams.stdin, _READ_SIZE)
        except OSError:  # EIO: the caller's own terminal has gone
            self._typed = b""
        if not self._typed:
            self._input_open = False
            self._typed = _END_OF_FILE

    def _type(self, terminal: socket.socket) -> None:
        try:
            sent = terminal.send(self._typed, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            self._typed = b""
            self._input_open = False
        else:
            self._typed = self._typed[sent:]

    def _print(self, terminal: socket.socket) -> bool:
        """Pass on what the terminal shows; False if there is nothing at the moment."""
        try:
            data = terminal.recv(_READ_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._terminal = None
            return False
        try:
            _write_all(self._streams.stdout, data)
        except OSError:
            # Nobody reads what it shows any more: to a process on a terminal that is a hang-up.
            self._ask(Signal(number=signal.SIGHUP))
            self._terminal = None
            return False
        return True


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            # The caller's terminal or pipe may be non-blocking, which is his to say.
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
