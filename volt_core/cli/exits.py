"""The one place that turns exceptions into text and exit status."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from volt_core.cli.messages import say
from volt_core.errors import VoltError
from volt_core.models.outcome import VOLT_FAILED

FAILURE = 1
BROKEN_PIPE = 141
STATUS_OF_FAILURE = "status_of_failure"
"""Attribute of a command whose failures, wrong options among them, all end with one status."""


_MESSAGES = {signal.SIGINT: "Interrupted.", signal.SIGTERM: "Terminated.", signal.SIGHUP: "Hung up."}


class Leaving(Exception):
    """A command that has said what there is to say ends with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


class Terminated(KeyboardInterrupt):
    """Somebody asked this process to end; the way out clears up, as it does after Ctrl-C."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number


def raise_when_terminated() -> None:
    """Make SIGTERM and SIGHUP raise :class:`Terminated`, once; what is ignored, as by nohup, stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _raise_terminated)


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    # A second one would cut short the clearing up.
    signal.signal(number, signal.SIG_IGN)
    raise Terminated(signal.Signals(number))


def run_app(words: Sequence[str]) -> int:
    """Run the application with these arguments and return the exit status."""
    try:
        status = _run(words)
        # What is still in the buffer must fail here, where somebody answers for it.
        sys.stdout.flush()
    except OSError as error:
        return lost_output(error)
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT
        say(_MESSAGES[number])
        return 128 + number
    return status


def _run(words: Sequence[str]) -> int:
    from volt_core.cli.plain import find_plain

    act = find_plain(words)
    try:
        if act is None:
            return _parse_and_run(words)
        act()
        return 0
    except Leaving as leaving:
        return leaving.status
    except BrokenPipeError:
        raise
    except (VoltError, OSError) as error:
        return report(error)


def _parse_and_run(words: Sequence[str]) -> int:
    import typer
    from typer.main import get_command

    from volt_core.cli.app import app

    command = get_command(app)
    try:
        # Its main() would make statuses of its own of interrupts and broken pipes.
        with command.make_context("volt", list(words)) as context:
            command.invoke(context)
        return 0
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort as abort:
        raise KeyboardInterrupt from abort
    except Exception as error:
        # typer has its own copy of click, whose exception classes it does not export.
        if not hasattr(error, "format_message"):
            raise
        wrong = getattr(error, "ctx", None)
        where = wrong.command_path if wrong else "volt"
        say(f"Error: {error.format_message().rstrip('.')}. (See '{where} --help'.)")
        callback = getattr(getattr(wrong, "command", None), "callback", None)
        return int(getattr(callback, STATUS_OF_FAILURE, getattr(error, "exit_code", FAILURE)))


def lost_output(error: OSError) -> int:
    """Answer for output that could not be written, and return the exit status that goes with it."""
    if isinstance(error, BrokenPipeError):
        _drop(1, 2)
        return BROKEN_PIPE
    _drop(1)
    return report(error)


def _drop(*descriptors: int) -> None:
    """Send what is still to be written nowhere: the interpreter would try again at its end, and complain."""
    for descriptor in descriptors:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def report(error: VoltError | OSError) -> int:
    """Write an error, its details indented below it, and return the exit status that goes with it."""
    if isinstance(error, OSError):
        if os.environ.get("VOLT_DEBUG"):
            raise error
        error = _explain(error)
    say(f"Error: {error}")
    if error.details:
        say("\n".join(f"  {line}" for line in error.details.rstrip().splitlines()))
    return error.exit_code


def _explain(error: OSError) -> VoltError:
    """Return what the operating system refused as an error with a next step."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free some space, for example with 'volt cas gc', then try again."
    elif error.errno == errno.EROFS:
        hint = "Make that file system writable, then try again."
    elif isinstance(error, PermissionError):
        hint = "Run as the owner of that path, or with sudo."
    else:
        hint = "VOLT_DEBUG=1 shows where it happened."
    where = f": '{error.filename}'" if error.filename is not None else ""
    return VoltError(f"{error.strerror or error}{where}", hint=hint)


def leave(status: int) -> None:
    """End the command with this status."""
    if status:
        raise Leaving(status)


@contextmanager
def own_failures() -> Iterator[None]:
    """Inside, Volt's own failures end with 125, so that they are not taken for the command's."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (VoltError, OSError) as error:
        report(error)
        raise Leaving(VOLT_FAILED) from error


class Failures:
    """Lets a command with several names go on after one failed, and ends with the first failure's status."""

    def __init__(self) -> None:
        self._status = 0

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Report an error inside and go on behind."""
        try:
            yield
        except BrokenPipeError:
            raise
        except (VoltError, OSError) as error:
            status = report(error)
            self._status = self._status or status

    def leave(self) -> None:
        """End the command if anything failed."""
        leave(self._status)
