"""Pumps: each moves one stream of a process, in a thread of its own, to the log and to the caller.

The caller's descriptors are written blocking, never set to non-blocking: that flag would be shared with
whoever else has the same open file. A pump writes only after poll() promised room, and never more than a
pipe then takes at once, so it can still notice that its caller has gone away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
from typing import Final

from volt_core.supervisor.log import LogWriter
from volt_core.supervisor.model import Stream

_READ_SIZE: Final = 64 * 1024
_WRITE_SIZE: Final = select.PIPE_BUF
_FRAGMENT_MS: Final = 200
"""How long part of a line may wait for its end before the log gets it as it is."""
_CALLER_SECONDS: Final = 0.25
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO)


class Event:
    """A flag that wakes poll()."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        """Raise it; threads and signal handlers may."""
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Take note of it."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Free the descriptor."""
        os.close(self.fd)


class OutputPump(threading.Thread):
    """Moves output from `source` to the log and to `sink`, both of which it owns and closes.

    When `drain` is set the writers are dead: everything left is read and logged at once, whatever the
    sink does. When `abandon` is set the caller is gone, and the sink with it.
    """

    def __init__(
        self,
        source: int,
        *,
        log: LogWriter | None,
        stream: Stream,
        sink: int | None,
        wake: Event,
        break_on_epipe: bool = False,
    ) -> None:
        super().__init__(daemon=True, name=f"volt-{stream}")
        self.logged = threading.Event()
        """All that will ever come is in the log."""
        self.flushed = threading.Event()
        """And the sink has it, too."""
        self._source: int | None = source
        self._sink = sink
        self._log = log
        self._stream = stream
        self._wake = wake
        self._break_on_epipe = break_on_epipe
        self._pending = memoryview(b"")
        self._draining = threading.Event()
        self._abandoned = threading.Event()
        self._control = Event()

    def drain(self) -> None:
        """No process writes any more: log all that is left without waiting for the sink."""
        self._draining.set()
        self._control.set()

    def abandon(self) -> None:
        """The caller is gone: from now on only the log counts."""
        self._abandoned.set()
        self._control.set()

    def run(self) -> None:
        """Pump until the source has ended and the sink has all of it."""
        try:
            while self._source is not None or self._pending:
                self._turn()
        finally:
            self._end_source()
            self._drop_sink()
            self.flushed.set()
            self._wake.set()

    def close(self) -> None:
        """Wait for the end of the thread, which must have been told of it or have flushed, and free what it used."""
        self.join()
        self._control.close()

    def _turn(self) -> None:
        if self._abandoned.is_set():
            self._drop_sink()
        if self._draining.is_set() and self._source is not None:
            self._read_rest()
            return
        poll = select.poll()
        poll.register(self._control.fd, select.POLLIN)
        if self._pending and self._sink is not None:
            poll.register(self._sink, select.POLLOUT)
        elif self._source is not None:
            poll.register(self._source, select.POLLIN)
        waits = self._log is not None and self._log.has_fragment(self._stream)
        ready = dict(poll.poll(_FRAGMENT_MS if waits else None))
        if self._control.fd in ready:
            self._control.clear()
        if not ready and self._log is not None:
            self._log.flush(self._stream)
        if self._sink in ready:
            self._write()
        if self._source in ready:
            self._read()

    def _read(self) -> bool:
        """Read once; False at the end of the stream."""
        if self._source is None:
            return False
        try:
            data = os.read(self._source, _READ_SIZE)
        except OSError as error:
            # A pseudo terminal whose last user has gone answers EIO.
            if error.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self._end_source()
            return False
        if self._log is not None:
            self._log.write(self._stream, data)
        if self._sink is not None:
            self._pending = memoryview(bytes(self._pending) + data) if self._pending else memoryview(data)
        return True

    def _read_rest(self) -> None:
        """Read what the pipe still holds; a writer outside the workload may keep it open for ever."""
        while self._source is not None:
            # Not select(), which knows no descriptor above 1023.
            poll = select.poll()
            poll.register(self._source, select.POLLIN)
            if poll.poll(0):
                self._read()
            else:
                self._end_source()

    def _write(self) -> None:
        if self._sink is None:
            return
        try:
            written = os.write(self._sink, self._pending[:_WRITE_SIZE])
        except BlockingIOError:
            # Its owner made it non-blocking and somebody else took the room; poll() says when there is more.
            return
        except OSError:
            self._drop_sink()
            # Its reader has left: so do we, and the process meets SIGPIPE as it would without us. Unless the caller
            # has gone too: when both are killed at once, word of the caller may come second.
            if self._break_on_epipe and not self._abandoned.wait(_CALLER_SECONDS):
                self._end_source()
            return
        self._pending = self._pending[written:]

    def _end_source(self) -> None:
        if self._source is not None:
            os.close(self._source)
            self._source = None
        if not self.logged.is_set():
            if self._log is not None:
                self._log.flush(self._stream)
            self.logged.set()
            self._wake.set()

    def _drop_sink(self) -> None:
        self._pending = memoryview(b"")
        if self._sink is not None:
            os.close(self._sink)
            self._sink = None


class InputPump(threading.Thread):
    """Moves what the caller types into a pseudo terminal; owns `source`, duplicates `master`."""

    def __init__(self, source: int, master: int) -> None:
        super().__init__(daemon=True, name="volt-input")
        self._source = source
        self._master = os.dup(master)

    def run(self) -> None:
        """Pump until the caller or the terminal is gone."""
        try:
            while data := os.read(self._source, _READ_SIZE):
                view = memoryview(data)
                while view:
                    view = view[os.write(self._master, view) :]
        except OSError as error:
            if error.errno not in _GONE:
                raise
        finally:
            os.close(self._source)
            os.close(self._master)
