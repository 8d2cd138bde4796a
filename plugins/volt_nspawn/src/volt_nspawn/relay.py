"""Between the caller's streams and a container, which gets none of the caller's descriptors.

Whoever is root in a container can open what its first process has open, and whoever has a terminal open can push
into it what then counts as typed on it. Nor are the caller's descriptors Volt's to make non-blocking: others share
that flag. So what goes into the container are pipes, or with a terminal one socket, and threads of the caller's
process copy.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from typing import Final, Self

from volt_core.contracts import Streams
from volt_nspawn.pump import Flag, Pump

_END_OF_FILE: Final = b"\x04"
"""What a terminal takes for the end of its input, unless the payload has chosen another."""
_STUCK_SECONDS: Final = 1.0
"""For a thread that a terminal does not let go; it ends when that does."""
_FORWARDED: Final = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT}
    | {signal.SIGWINCH}
)
_ASKING: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})


class Relay:
    """Copies for the length of a block, and passes the caller's signals on.

    `far` are the three descriptors for the container. With `outlives_terminal` the SIGHUP that says that the caller's
    terminal is gone does not go to what has one of its own.
    """

    def __init__(self, streams: Streams, *, outlives_terminal: bool) -> None:
        self.far: tuple[int, int, int]
        self._streams = streams
        self._outlives_terminal = outlives_terminal
        self._halt, self._halt_input, self._drain, self._wake = Flag(), Flag(), Flag(), Flag()
        self._changed = threading.Condition()
        self._outputs = 0
        self._abandoned = self._ended = self._closed = False
        self._caller: socket.socket | None = None
        self._unsaid: list[str] = []
        self._pidfd = -1
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._pumps = self._terminal_pumps() if streams.tty else self._pipe_pumps()

    def __enter__(self) -> Self:
        for thread in (*self._pumps, self._listener):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hand_over()
        self._closed = True
        for flag in (self._halt, self._halt_input, self._wake):
            flag.set()
        self._listener.join()
        for pump in self._pumps:
            pump.join(_STUCK_SECONDS)
        if self._caller is not None:
            self._caller.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        for flag in (self._halt, self._halt_input, self._drain, self._wake):
            flag.close()

    def connect(self, caller: socket.socket) -> None:
        """Take the connection to ``init`` or ``enter``; csrc/programs/session.h has what is said on it."""
        with self._changed:
            self._caller = caller
            for text in self._unsaid:
                self._say(text)
        self._wake.set()

    def hand_over(self) -> None:
        """Close our copies of `far`: the container has them, and their end is to be seen."""
        descriptors, self.far = set(self.far), (-1, -1, -1)
        for descriptor in descriptors - {-1}:
            os.close(descriptor)

    def attend(self, pid: int | None) -> None:
        """Pass signals on to a process from now on, those that came before included."""
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(pid) if pid is not None else -1
        self._wake.set()

    def finish(self, timeout: float | None = None) -> None:
        """Wait until the caller has all that was written: the writers have ended. A signal ends the wait."""
        self._ended = True
        self._drain.set()
        self._wake.set()
        with self._changed:
            self._changed.wait_for(lambda: self._outputs == 0 or self._abandoned, timeout)

    def _pipe_pumps(self) -> list[Pump]:
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
        self.far = (in_read, out_write, err_write)
        return [
            self._input(in_write),
            self._output(out_read, self._streams.stdout, "closed 1"),
            self._output(err_read, self._streams.stderr, "closed 2"),
        ]

    def _terminal_pumps(self) -> list[Pump]:
        near, far = socket.socketpair()
        descriptor = far.detach()
        self.far = (descriptor, descriptor, descriptor)
        typed = self._input(near.dup().detach(), ends_by_key=not os.isatty(self._streams.stdin))
        return [typed, self._output(near.detach(), self._streams.stdout, None)]

    def _input(self, sink: int, *, ends_by_key: bool = False) -> Pump:
        def ended(refused: bool) -> None:
            # A terminal that ends has hung up; that is no end of what was typed.
            if ends_by_key and not refused:
                pump.write(_END_OF_FILE)

        pump = Pump(os.dup(self._streams.stdin), sink, halt=self._halt_input, ended=ended)
        return pump

    def _output(self, source: int, sink: int, farewell: str | None) -> Pump:
        """Return what copies output. A pipe that nobody reads is told with `farewell`; a terminal, that it is gone."""

        def ended(refused: bool) -> None:
            with self._changed:
                if refused and farewell is None:
                    self._leave()
                elif refused and self._caller is None:
                    self._unsaid.append(farewell or "")
                elif refused:
                    self._say(farewell or "")
                self._outputs -= 1
                self._changed.notify_all()

        self._outputs += 1
        return Pump(source, os.dup(sink), halt=self._halt, drain=self._drain, ended=ended)

    def _say(self, text: str) -> None:
        if self._caller is not None:
            with contextlib.suppress(OSError):
                self._caller.send(text.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def _listen(self) -> None:
        events, talks = self._streams.events, True
        while not self._closed:
            poll = select.poll()
            poll.register(self._wake.descriptor, select.POLLIN)
            if events is not None and (self._pidfd >= 0 or self._ended):
                poll.register(events, select.POLLIN)
            if self._caller is not None and talks:
                poll.register(self._caller, select.POLLIN)
            ready = dict(poll.poll())
            if self._wake.descriptor in ready:
                os.eventfd_read(self._wake.descriptor)
            if self._caller is not None and self._caller.fileno() in ready:
                talks = self._hear(self._caller)
            if events is not None and events in ready:
                numbers = os.read(events, 4096)
                events = events if numbers else None
                for number in numbers:
                    self._take_signal(number)

    def _hear(self, caller: socket.socket) -> bool:
        """Take in what the other side says; False if it will say no more."""
        try:
            text = caller.recv(64)
        except OSError:
            text = b""
        # There is nobody left to take a signal, but output may still be under way.
        self._ended = self._ended or text == b"ended"
        return bool(text)

    def _take_signal(self, number: int) -> None:
        if self._ended and number in _ASKING:
            self._abandon()
        elif number == signal.SIGWINCH and self._streams.tty:
            # What stands at stdin may be no terminal; then there is no news.
            with contextlib.suppress(OSError):
                size = os.get_terminal_size(self._streams.stdin)
                self._say(f"size {size.lines}x{size.columns}")
        elif number in _FORWARDED and self._pidfd >= 0 and not self._is_hangup(number):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _is_hangup(self, number: int) -> bool:
        return number == signal.SIGHUP and self._streams.tty and self._outlives_terminal

    def _abandon(self) -> None:
        """Let nobody wait any longer for a caller who does not read."""
        self._halt.set()
        with self._changed:
            self._leave()
            self._abandoned = True
            self._changed.notify_all()

    def _leave(self) -> None:
        """Say that the caller is gone."""
        self._halt_input.set()
        if self._caller is not None:
            with contextlib.suppress(OSError):
                self._caller.shutdown(socket.SHUT_RDWR)
