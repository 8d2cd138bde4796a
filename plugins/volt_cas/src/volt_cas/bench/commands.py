"""``volt bench``: what this machine can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volt_core.cli.lazy import new_app
from volt_core.cli.messages import say
from volt_core.cli.options import AsJson, some_path
from volt_core.cli.progress import shown_progress
from volt_core.cli.render import print_json, print_table, size
from volt_core.cli.session import volt_of
from volt_core.errors import UsageError

app = new_app(help="Measure Volt on this machine.")

_FILES = 3000
_BYTES_A_FILE = 40_000


@app.callback()
def bench() -> None:
    """Measure Volt on this machine."""


@app.command()
def cas(
    ctx: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", metavar="DIR", help="Measure here; else beside the store.", parser=some_path),
    ] = None,
    files: Annotated[int, typer.Option("--files", min=20, max=1_000_000, help="How many small files.")] = _FILES,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=100, help="At most; fewer on a slow disk.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Measure the store beside plain tools, in less than half a minute.

    A temporary store is made for that, on the file system of your store, which is not touched. Each operation is timed
    right after a plain tool that does the like; below a ratio of 1 the store is faster.
    """
    from volt_cas.bench.measure import LARGE_FILES, LARGE_SIZE, Bench
    from volt_cas.bench.place import nearest_directory, temporary_folder

    if directory is not None and not directory.is_dir():
        raise UsageError(f"There is no directory '{directory}'", hint="Name one that exists.")
    below = directory or nearest_directory(volt_of(ctx).paths.store)
    needed = 3 * LARGE_FILES * LARGE_SIZE + files * _BYTES_A_FILE
    with shown_progress() as progress, temporary_folder(below, needed) as folder:
        report = Bench(folder, files, progress).run(rounds)
    if as_json:
        print_json("bench-cas", report)
        return
    machine = report.machine
    say(
        f"{machine.cpus} CPUs, Linux {machine.kernel}, {machine.file_system}, Volt {machine.volt} ({machine.native}), "
        f"Python {machine.python}; {report.files} files, {size(report.bytes)}, {report.rounds} rounds"
    )
    rows = [
        (
            it.name,
            _time(it.seconds),
            it.yardstick,
            _time(it.yardstick_seconds),
            f"{it.ratio:.2f}",
            _rate(it.rate, it.unit),
        )
        for it in report.operations
    ]
    print_table(("OPERATION", "TIME", "BESIDE", "ITS TIME", "RATIO", "RATE"), rows)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _rate(rate: float, unit: str) -> str:
    return f"{rate:,.0f} {unit}"
