"""``volt exec`` and ``volt shell``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from volt_core.cli.exits import leave
from volt_core.cli.messages import say
from volt_core.cli.options import ends_as_its_command, options_first
from volt_core.cli.session import volt_of
from volt_core.cli.terminal import attached_streams
from volt_core.workloads.specs import parse_env

Name = Annotated[str, typer.Argument(metavar="NAME", help="A running workload.", show_default=False)]
Env = Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME[=VALUE]", help="Set a variable.")]
User = Annotated[str, typer.Option("--user", "-u", metavar="USER[:GROUP]", help="User to run as.")]
WorkingDir = Annotated[str, typer.Option("--workdir", "-w", metavar="DIR", help="Directory to start in.")]

# The first shell that the image has, as a login shell.
_SHELL = ("/bin/sh", "-c", "if [ -x /bin/bash ]; then exec /bin/bash -l; else exec /bin/sh -l; fi")


@options_first
@ends_as_its_command
def exec_(
    ctx: typer.Context,
    name: Name,
    command: Annotated[list[str], typer.Argument(metavar="CMD...", help="Command to run.", show_default=False)],
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Keep standard input open.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Give it a terminal.")] = False,
    env: Env = None,
    workdir: WorkingDir = "",
    user: User = "",
) -> None:
    """Run a command in a running workload, and end with its exit code."""
    _execute(ctx, name, command, interactive=interactive, tty=tty, env=env, workdir=workdir, user=user)


@options_first
@ends_as_its_command
def shell(ctx: typer.Context, name: Name, env: Env = None, workdir: WorkingDir = "", user: User = "") -> None:
    """Open a shell in a running workload."""
    tty = os.isatty(0)
    _execute(ctx, name, _SHELL, interactive=True, tty=tty, env=env, workdir=workdir, user=user)


def _execute(
    ctx: typer.Context,
    name: str,
    command: Sequence[str],
    *,
    interactive: bool,
    tty: bool,
    env: Sequence[str] | None,
    workdir: str,
    user: str,
) -> None:
    variables = parse_env(env or (), os.environ)
    with attached_streams(interactive=interactive, tty=tty) as streams:
        outcome = volt_of(ctx).workloads.exec(name, command, streams, env=variables, working_dir=workdir, user=user)
    if outcome.reason:
        say(f"Error: Cannot run '{command[0]}': {outcome.reason}.")
    leave(outcome.exit_status)
