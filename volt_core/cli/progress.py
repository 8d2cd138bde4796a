"""Draws progress on a terminal's standard error; elsewhere only notes are printed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from volt_core.cli.messages import say
from volt_core.contracts import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class _Notes:
    """For pipes and log files."""

    def begin(self, what: str, total_bytes: int | None = None) -> None:
        """Say nothing."""

    def advance(self, byte_count: int, file_count: int = 0) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Print it."""
        say(f"Note: {text}")


class _Bar(_Notes):
    """Bytes, files, rate, time and, where the total is known, time left on one line."""

    WATCHED = True

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._files = 0

    def begin(self, what: str, total_bytes: int | None = None) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._files = 0
        self._task = self._bars.add_task(what, total=total_bytes, files="")

    def advance(self, byte_count: int, file_count: int = 0) -> None:
        if self._task is None:
            self.begin("working")
        self._files += file_count
        if self._task is not None:
            self._bars.update(self._task, advance=byte_count, files=f"{self._files} files")

    def note(self, text: str) -> None:
        self._bars.console.print(f"Note: {text}", markup=False, highlight=False)


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Give a receiver of progress for the length of the block."""
    if not sys.stderr.isatty():
        yield _Notes()
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.DownloadColumn(binary_units=True),
        progress.TextColumn("{task.fields[files]}"),
        progress.TransferSpeedColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bar(bars)
