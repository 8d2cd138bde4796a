"""The caller's side of a foreground run or exec: terminal mode, window size, and signals to pass on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import tty as terminals
from collections.abc import Iterator
from types import FrameType

from volt_core.contracts import Streams
from volt_core.errors import UsageError

# What a person or a service manager sends to a foreground program; the program shall get it.
_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
)
_DEFAULT_SIZE = (24, 80)


def check_terminal(*, interactive: bool, tty: bool) -> None:
    """Raise :class:`UsageError` if both are asked for and standard input is no terminal.

    As Docker does: a script would wait for ever.
    """
    if interactive and tty and not os.isatty(sys.stdin.fileno()):
        raise UsageError("Standard input is not a terminal", hint="Leave out -t.")


@contextlib.contextmanager
def attached_streams(*, interactive: bool, tty: bool) -> Iterator[Streams]:
    """Give the standard streams for the length of the block; the terminal is as before afterwards.

    Without `interactive` the payload reads end of file. Raises as :func:`check_terminal`.
    """
    check_terminal(interactive=interactive, tty=tty)
    stdin = sys.stdin.fileno() if interactive else os.open(os.devnull, os.O_RDONLY)
    try:
        sys.stdout.flush()
        with _raw_mode(stdin if tty and interactive else None), _signals() as events:
            yield Streams(
                stdin=stdin,
                stdout=sys.stdout.fileno(),
                stderr=sys.stderr.fileno(),
                tty=tty,
                size=_window_size(),
                events=events,
            )
    finally:
        if not interactive:
            os.close(stdin)


def _window_size() -> tuple[int, int]:
    for stream in (0, 1, 2):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(stream)
            return size.lines, size.columns
    return _DEFAULT_SIZE


@contextlib.contextmanager
def _raw_mode(terminal: int | None) -> Iterator[None]:
    """Keys go to the payload as they are, Ctrl-C among them."""
    if terminal is None:
        yield
        return
    before = termios.tcgetattr(terminal)
    terminals.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """Turn signals into bytes on a pipe and give its read end."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    former_wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    former = {number: signal.signal(number, _nothing) for number in _FORWARDED}
    try:
        yield reading
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_wakeup)
        os.close(writing)
        os.close(reading)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Python must have a handler for the wake-up byte to be written."""
