"""``volt logs``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from volt_core.cli.exits import Failures
from volt_core.cli.messages import say
from volt_core.cli.render import moment
from volt_core.cli.session import volt_of
from volt_core.cli.times import moment_of
from volt_core.contracts import LogRecord
from volt_core.errors import UsageError
from volt_core.names import shown
from volt_core.workloads import Excerpt


def logs(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of workloads.", metavar="NAME...", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", metavar="LINES", help="Only the last ones.", min=0)
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(
            "--since",
            metavar="TIME",
            parser=moment_of,
            help="Only newer ones: 10m (ago), 13:00, yesterday, '2026-01-31 13:00', RFC 3339, or seconds since 1970.",
        ),
    ] = None,
    until: Annotated[
        int | None, typer.Option("--until", metavar="TIME", parser=moment_of, help="Only older ones.")
    ] = None,
    grep: Annotated[
        str | None,
        typer.Option(
            "--grep",
            "-g",
            metavar="PATTERN",
            help="Only lines in which a regular expression of Python is found; (?i) before it ignores case.",
        ),
    ] = None,
    invocation: Annotated[
        str,
        typer.Option(
            "--invocation", metavar="ID", help="Only of one run; without a NAME also of a container that was deleted."
        ),
    ] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Put the time before each line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show what workloads have written: their standard output and standard error, each on ours.

    Of several, one after the other, each line with the name before it; only one can be followed. The ID of a run is the
    'invocation' of 'volt logs --json', 'volt inspect' and 'volt ps --all --json'.
    """
    _check(names or [], invocation, follow=follow, until=until)
    wanted = Excerpt(
        tail=tail,
        since=since or 0,
        until=until or 0,
        grep=None if grep is None else _compile(grep),
        invocation=invocation,
    )
    workloads = volt_of(ctx).workloads
    failures = Failures()
    for name in names or [""]:
        with failures.collect():
            found = workloads.logs(name, wanted, follow=follow) if name else workloads.past_logs(wanted)
            shown_name = name if names and len(names) > 1 else ""
            if not _write(found, shown_name, timestamps=timestamps, as_json=as_json) and invocation:
                say(f"Note: there are no lines of a run {shown(invocation)}.")
    failures.leave()


def _check(names: list[str], invocation: str, *, follow: bool, until: int | None) -> None:
    if not names and not invocation:
        raise UsageError("No workload is named", hint="Give a NAME, or --invocation ID.")
    if follow and len(names) != 1:
        raise UsageError("Only one workload can be followed", hint="Leave out --follow, or name one.")
    if follow and until is not None:
        raise UsageError("Nothing can be followed up to a moment", hint="Leave out --follow or --until.")


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"Invalid pattern {shown(pattern)}: {error}",
            hint="It is a regular expression; a backslash before a special character takes it literally.",
        ) from error


def _write(records: Iterator[LogRecord], name: str, *, timestamps: bool, as_json: bool) -> bool:
    """Write records as they come; `name` stands before each line unless empty. Tell whether there were any."""
    begun: set[str] = set()
    found = False
    for record in records:
        found = True
        if as_json:
            _write_json(record, name)
        else:
            begins = record.stream not in begun
            _write_line(record, name if begins else "", timestamps=timestamps and begins)
            (begun.add if record.partial else begun.discard)(record.stream)
    return found


def _write_json(record: LogRecord, name: str) -> None:
    fields = {
        **({"name": name} if name else {}),
        "time": record.time,
        "stream": record.stream,
        "message": record.data.decode("utf-8", "backslashreplace"),
        **({"partial": True} if record.partial else {}),
        **({"invocation": record.invocation} if record.invocation else {}),
    }
    print(json.dumps(fields), flush=True)


def _write_line(record: LogRecord, name: str, *, timestamps: bool) -> None:
    out = sys.stderr.buffer if record.stream == "stderr" else sys.stdout.buffer
    prefix = f"{name}: ".encode() if name else b""
    if timestamps:
        prefix += f"{moment(record.time)} ".encode()
    out.write(prefix + record.data + (b"" if record.partial else b"\n"))
    out.flush()
