"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from volt_core.cli.exits import STATUS_OF_FAILURE, own_failures
from volt_core.config import MAX_SECONDS
from volt_core.models.outcome import VOLT_FAILED
from volt_core.names import shown

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print names only.")]


def number_up_to(most: float) -> Callable[[str], float]:
    """Return a parser of numbers from 0 to `most`; a range of the library's would let NaN through."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError as error:
            raise typer.BadParameter(f"{shown(text)} is not a number") from error
        if not 0 <= number <= most:
            raise typer.BadParameter(f"{shown(text)} is not in the range 0 to {most:g}")
        return number

    return parse


seconds = number_up_to(MAX_SECONDS)


def some_path(text: str) -> Path:
    """Parse a path; an empty one would mean the current directory."""
    if not text:
        raise typer.BadParameter("an empty path names nothing")
    return Path(text)


def takes(request: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command all options of `request`, and its answer as the second argument.

    The command is ``(ctx, request, …)``; on the command line it has the parameters of `request`, then its own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        shared = inspect.signature(request)
        own = list(inspect.signature(command).parameters.values())[2:]
        names = frozenset(parameter.name for parameter in own)

        @functools.wraps(command)
        def called(ctx: typer.Context, **values: Any) -> None:
            mine = {name: values.pop(name) for name in names}
            command(ctx, request(ctx, **values), **mine)

        hints = {**get_type_hints(command, include_extras=True), **get_type_hints(request, include_extras=True)}
        parameters = [it.replace(annotation=hints[it.name]) for it in (*shared.parameters.values(), *own)]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return options_first(called)

    return decorate


def options_first(command: Callable[..., None]) -> Callable[..., None]:
    """Mark a command whose options end at its first argument: what follows belongs to the command inside."""
    command.context_settings = {"allow_interspersed_args": False}  # type: ignore[attr-defined]
    return command


def ends_as_its_command(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command end with 125 when Volt itself fails, since all other codes are the inner command's."""

    @functools.wraps(command)
    def called(*arguments: Any, **options: Any) -> None:
        with own_failures():
            command(*arguments, **options)

    setattr(called, STATUS_OF_FAILURE, VOLT_FAILED)
    return called
