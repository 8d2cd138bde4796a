"""Copying from one descriptor to another in a thread, until something says that it is enough."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import threading
from collections.abc import Callable
from typing import Final

_READ_SIZE: Final = 64 * 1024
_WRITE_SIZE: Final = select.PIPE_BUF
"""A write of no more than this does not block on a pipe of which poll() said that it has room."""


class Flag:
    """Once raised it stays so, and poll() sees it."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        """Raise it."""
        os.eventfd_write(self.descriptor, 1)

    def close(self) -> None:
        """Free the descriptor."""
        os.close(self.descriptor)


class Pump(threading.Thread):
    """Copies from `source` to `sink`, owns both, and ends at the end of the source or with whoever read from the sink.

    Raising `halt` ends it at once; raising `drain` when all has been passed on that was there to be read. `ended` is
    called at the end with whether the sink refused, before the descriptors are closed. A daemon, since a terminal whose
    flow is stopped blocks a write whatever poll() has said of it.
    """

    def __init__(
        self, source: int, sink: int, *, halt: Flag, drain: Flag | None = None, ended: Callable[[bool], None]
    ) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._sink = sink
        self._halt = os.dup(halt.descriptor)
        self._drain = os.dup(drain.descriptor) if drain is not None else -1
        self._left: int | None = None
        self._ended = ended

    def run(self) -> None:
        """Copy."""
        refused = False
        try:
            while not refused and (data := self._read()):
                refused = not self.write(data)
        finally:
            self._ended(refused)
            for descriptor in (self._source, self._sink, self._halt, self._drain):
                if descriptor >= 0:
                    os.close(descriptor)

    def write(self, data: bytes) -> bool:
        """Write all of it; False if nobody reads any more. For this thread."""
        view = memoryview(data)
        while view:
            if not self._wait(self._sink, select.POLLOUT):
                return True
            try:
                view = view[os.write(self._sink, view[:_WRITE_SIZE]) :]
            except BlockingIOError:
                continue
            except OSError:  # it is gone, or full
                return False
        return True

    def _read(self) -> bytes:
        while self._wait(self._source, select.POLLIN, drain=True):
            size = _READ_SIZE if self._left is None else min(self._left, _READ_SIZE)
            try:
                data = os.read(self._source, size)
            except BlockingIOError:
                continue
            except OSError:  # a terminal that is gone says EIO
                return b""
            if self._left is not None:
                self._left -= len(data)
            return data
        return b""

    def _wait(self, descriptor: int, event: int, *, drain: bool = False) -> bool:
        """Wait until something can be done; False if nothing is to be done any more."""
        poll = select.poll()
        poll.register(descriptor, event)
        poll.register(self._halt, select.POLLIN)
        if drain and self._drain >= 0 and self._left is None:
            poll.register(self._drain, select.POLLIN)
        if self._left != 0 or not drain:
            ready = dict(poll.poll())
            if self._halt in ready:
                return False
            if self._drain in ready:
                self._left = _readable(self._source)
        return not drain or self._left != 0


def _readable(descriptor: int) -> int:
    """Return how many bytes can be read at once. Others may go on writing without end."""
    return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0])
