"""The one place that turns exceptions into text and exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from volt_core.errors import VoltError
from volt_core.models.outcome import VOLT_FAILED

FAILURE = 1
INTERRUPTED = 130
BROKEN_PIPE = 141


def run_app(words: Sequence[str]) -> int:
    """Run the application with these arguments and return the exit status."""
    from volt_core.cli.app import app

    try:
        return int(app(args=list(words), prog_name="volt", standalone_mode=False) or 0)
    except typer.Exit as leaving:
        return leaving.exit_code
    except VoltError as error:
        report(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        say("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone; so must the message that the interpreter would print when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except PermissionError as error:
        say(f"Error: Permission denied: '{error.filename}'. (Run as the owner of that path, or with sudo.)")
        return FAILURE
    except Exception as error:
        # typer has its own copy of click, whose exception classes it does not export.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "volt"
        say(f"Error: {error.format_message().rstrip('.')}. (See '{where} --help'.)")
        return int(getattr(error, "exit_code", FAILURE))


def say(text: str) -> None:
    """Write one message to standard error."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Write a warning: what is the matter, and what happens instead."""
    say(f"Warning: {text}")


def report(error: VoltError) -> None:
    """Write an error, its details indented below it."""
    say(f"Error: {error}")
    if error.details:
        say("\n".join(f"  {line}" for line in error.details.rstrip().splitlines()))


def leave(status: int) -> None:
    """End the command with this status."""
    if status:
        raise typer.Exit(status)


@contextmanager
def own_failures() -> Iterator[None]:
    """Inside, Volt's own failures end with 125, so that they are not taken for the command's."""
    try:
        yield
    except VoltError as error:
        report(error)
        raise typer.Exit(VOLT_FAILED) from error


class Failures:
    """Lets a command with several names go on after one failed, and ends with the first failure's status."""

    def __init__(self) -> None:
        self._status = 0

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Report an error inside and go on behind."""
        try:
            yield
        except VoltError as error:
            report(error)
            self._status = self._status or error.exit_code

    def leave(self) -> None:
        """End the command if anything failed."""
        leave(self._status)
