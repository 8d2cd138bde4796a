"""The verbs of the life cycle; they take names, and work on every kind of workload."""

from __future__ import annotations

from typing import Annotated

import typer

from volt_core.cli import direct
from volt_core.cli.options import seconds
from volt_core.cli.session import volt_of
from volt_core.models.signals import parse_signal

Names = Annotated[list[str], typer.Argument(help="Names of workloads.", metavar="NAME...", show_default=False)]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", "--time", "-t", metavar="SECONDS", help="Time to end in; 0 kills at once.", parser=seconds
    ),
]


def start(ctx: typer.Context, names: Names) -> None:
    """Start workloads, several at a time."""
    direct.start(volt_of(ctx), *names)


def stop(ctx: typer.Context, names: Names, timeout: Timeout = None) -> None:
    """Stop workloads: send the stop signal, and kill what is left after the timeout."""
    direct.stop(volt_of(ctx), *names, timeout=timeout)


def restart(ctx: typer.Context, names: Names, timeout: Timeout = None) -> None:
    """Stop workloads, then start them."""
    direct.restart(volt_of(ctx), *names, timeout=timeout)


def kill(
    ctx: typer.Context,
    names: Names,
    signal: Annotated[str, typer.Option("--signal", "-s", metavar="SIGNAL", help="Name or number.")] = "KILL",
) -> None:
    """Send a signal to the first process of workloads."""
    number = parse_signal(signal)
    workloads = volt_of(ctx).workloads
    direct.each(names, lambda name: workloads.kill(name, number))


def delete(
    ctx: typer.Context,
    names: Names,
    force: Annotated[bool, typer.Option("--force", "-f", help="Also what is running, or damaged.")] = False,
) -> None:
    """Delete workloads with everything they wrote."""
    direct.delete(volt_of(ctx), *names, force=force)


def freeze(ctx: typer.Context, names: Names) -> None:
    """Suspend all processes of workloads."""
    direct.freeze(volt_of(ctx), *names)


def thaw(ctx: typer.Context, names: Names) -> None:
    """Resume frozen workloads."""
    direct.thaw(volt_of(ctx), *names)


def wait(
    ctx: typer.Context,
    names: Names,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Give up after that time.", parser=seconds)
    ] = None,
) -> None:
    """Wait until workloads end, and print their exit codes."""
    workloads = volt_of(ctx).workloads
    direct.each(names, lambda name: workloads.wait(name, timeout).exit_status)
