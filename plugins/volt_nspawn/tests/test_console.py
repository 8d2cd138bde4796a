"""Foreground runs of what boots, without anything that boots: what is shown, and what signals do."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

from volt_core.contracts import LogRecord
from volt_core.errors import BackendError
from volt_nspawn.console import power_switch, shown_console

SECONDS = 30.0


def reader(*lines: bytes, partial: bool = False) -> Callable[..., Iterator[LogRecord]]:
    """Return what reads a log that gets its lines when nothing is active any more."""

    def read(is_active: Callable[[], bool]) -> Iterator[LogRecord]:
        while is_active():
            threading.Event().wait(0.01)
        for line in lines:
            yield LogRecord(time=1, stream="console", data=line, partial=partial)

    return read


def test_the_last_lines_are_shown_too() -> None:
    out, into = os.pipe()
    with shown_console(reader(b"one", b"two\r"), into):
        pass
    with shown_console(reader(b"login: ", partial=True), into):
        pass
    os.close(into)
    with open(out, "rb") as shown:
        assert shown.read() == b"one\ntwo\nlogin: "


def test_a_reader_that_is_gone_ends_nothing() -> None:
    out, into = os.pipe()
    os.close(out)
    with shown_console(reader(b"one", b"two"), into):
        pass
    os.close(into)


def test_a_second_signal_does_not_wait_for_the_first() -> None:
    events, sender = os.pipe()
    asked: list[float] = []
    first, second = threading.Event(), threading.Event()

    def stop(patience: float) -> None:
        asked.append(patience)
        if patience:
            first.set()
            assert second.wait(SECONDS)
        else:
            second.set()
            raise BackendError("it has ended")

    with power_switch(events, stop, 10.0):
        os.write(sender, bytes([signal.SIGWINCH, signal.SIGINT]))
        assert first.wait(SECONDS)
        os.write(sender, bytes([signal.SIGTERM]))
        assert second.wait(SECONDS)
    assert asked == [10.0, 0.0]
    os.close(events)
    os.close(sender)
