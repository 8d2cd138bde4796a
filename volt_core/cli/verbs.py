"""The verbs of the life cycle; they take names, and work on every kind of workload."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer

from volt_core.cli import plain
from volt_core.cli.exits import Failures
from volt_core.cli.options import seconds
from volt_core.cli.render import moment
from volt_core.cli.session import volt_of
from volt_core.contracts import LogRecord
from volt_core.errors import UsageError
from volt_core.models.signals import parse_signal
from volt_core.names import shown

Names = Annotated[list[str], typer.Argument(help="Names of workloads.", metavar="NAME...", show_default=False)]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", "--time", "-t", metavar="SECONDS", help="Time to end in; 0 kills at once.", parser=seconds
    ),
]


def start(ctx: typer.Context, names: Names) -> None:
    """Start workloads, several at a time."""
    plain.start(volt_of(ctx).workloads, names)


def stop(ctx: typer.Context, names: Names, timeout: Timeout = None) -> None:
    """Stop workloads: send the stop signal, and kill what is left after the timeout."""
    workloads = volt_of(ctx).workloads
    plain.each(names, lambda name: workloads.stop(name, timeout))


def restart(ctx: typer.Context, names: Names, timeout: Timeout = None) -> None:
    """Stop workloads, then start them."""
    workloads = volt_of(ctx).workloads
    plain.each(names, lambda name: workloads.restart(name, timeout))


def kill(
    ctx: typer.Context,
    names: Names,
    signal: Annotated[str, typer.Option("--signal", "-s", metavar="SIGNAL", help="Name or number.")] = "KILL",
) -> None:
    """Send a signal to the first process of workloads."""
    number = parse_signal(signal)
    workloads = volt_of(ctx).workloads
    plain.each(names, lambda name: workloads.kill(name, number))


def delete(
    ctx: typer.Context,
    names: Names,
    force: Annotated[bool, typer.Option("--force", "-f", help="Also what is running, or damaged.")] = False,
) -> None:
    """Delete workloads with everything they wrote."""
    workloads = volt_of(ctx).workloads
    plain.each(names, lambda name: workloads.delete(name, force=force))


def freeze(ctx: typer.Context, names: Names) -> None:
    """Suspend all processes of workloads."""
    workloads = volt_of(ctx).workloads
    plain.each(names, lambda name: workloads.freeze(name))


def thaw(ctx: typer.Context, names: Names) -> None:
    """Resume frozen workloads."""
    workloads = volt_of(ctx).workloads
    plain.each(names, lambda name: workloads.thaw(name))


def wait(
    ctx: typer.Context,
    names: Names,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Give up after that time.", parser=seconds)
    ] = None,
) -> None:
    """Wait until workloads end, and print their exit codes."""
    workloads = volt_of(ctx).workloads
    plain.each(names, lambda name: workloads.wait(name, timeout).exit_status)


def logs(
    ctx: typer.Context,
    names: Names,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", metavar="LINES", help="Only the last ones.", min=0)
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Only newer ones: 10m, 2h, or seconds since 1970.")
    ] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Put the time before each line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show what workloads have written: their standard output and standard error, each on ours.

    Of several, one after the other, each line with the name before it; only one can be followed.
    """
    if follow and len(names) > 1:
        raise UsageError("Only one workload can be followed", hint="Leave out --follow, or name one.")
    workloads, earliest = volt_of(ctx).workloads, _parse_since(since)
    failures = Failures()
    for name in names:
        with failures.collect():
            for record in workloads.logs(name, follow=follow, tail=tail, since=earliest):
                _write_record(record, name if len(names) > 1 else "", timestamps=timestamps, as_json=as_json)
    failures.leave()


def _write_record(record: LogRecord, name: str, *, timestamps: bool, as_json: bool) -> None:
    """Write one line; `name` stands before it unless empty."""
    if as_json:
        text = record.data.decode("utf-8", "backslashreplace")
        whose = {"name": name} if name else {}
        print(json.dumps({**whose, "time": record.time, "stream": record.stream, "message": text}), flush=True)
        return
    out = sys.stderr.buffer if record.stream == "stderr" else sys.stdout.buffer
    prefix = f"{name}: ".encode() if name else b""
    if timestamps:
        prefix += f"{moment(record.time)} ".encode()
    out.write(prefix + record.data + (b"" if record.partial else b"\n"))
    out.flush()


def _parse_since(text: str) -> int:
    """Return nanoseconds since the epoch for ``10m`` (ago) or a Unix time; 0 for nothing."""
    if not text:
        return 0
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        if text[-1] in units:
            return time.time_ns() - int(float(text[:-1]) * units[text[-1]] * 1e9)
        return int(float(text) * 1e9)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"Invalid time {shown(text)}", hint="Use 30s, 10m, 2h, 1d or seconds since 1970.") from error
