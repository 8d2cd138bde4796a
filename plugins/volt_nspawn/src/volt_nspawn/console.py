"""Foreground runs of what boots: its console, as the journal gets it, and a switch to power it off.

Such a container goes on when it is rebooted, as a new run of its unit, so what shows its console must not depend on the
descriptors of one run.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator

from volt_core.contracts import LogRecord
from volt_core.errors import VoltError

_ENDING = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})


@contextlib.contextmanager
def shown_console(read: Callable[..., Iterator[LogRecord]], stdout: int) -> Iterator[None]:
    """Copy a log to `stdout` for the length of the block, to its last line; `read` takes ``is_active``."""
    over = threading.Event()
    thread = threading.Thread(target=_show, args=(read, over, stdout), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def power_switch(events: int | None, stop: Callable[[float], None], patience: float) -> Iterator[None]:
    """Stop at the first signal that asks to end, for which `patience` seconds are given, and at once at the second."""
    if events is None:
        yield
        return
    stop_read, stop_write = os.pipe2(os.O_CLOEXEC)
    thread = threading.Thread(target=_watch, args=(events, stop_read, stop, patience), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(stop_write)
        thread.join()
        os.close(stop_read)


def _show(read: Callable[..., Iterator[LogRecord]], over: threading.Event, stdout: int) -> None:
    # Nobody reads it any more, or there is no journal: the machine goes on.
    with contextlib.suppress(BrokenPipeError, VoltError):
        for record in read(is_active=lambda: not over.is_set()):
            line = record.data.rstrip(b"\r") + (b"" if record.partial else b"\n")
            while line:
                line = line[os.write(stdout, line) :]


def _watch(events: int, halt: int, stop: Callable[[float], None], patience: float) -> None:
    stops: list[threading.Thread] = []
    while halt not in (ready := select.select([events, halt], [], [])[0]):
        numbers = os.read(ready[0], 4096)
        if not numbers:
            break
        for number in numbers:
            if number in _ENDING:
                stops.append(threading.Thread(target=_stop, args=(stop, 0.0 if stops else patience)))
                stops[-1].start()
    for thread in stops:
        thread.join()


def _stop(stop: Callable[[float], None], patience: float) -> None:
    # What became of it is told by how the run ends.
    with contextlib.suppress(VoltError):
        stop(patience)
