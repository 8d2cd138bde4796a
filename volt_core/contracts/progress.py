"""How long work tells how far it is; the command line draws it, tests count it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receiver of progress. Called often and from the working thread: it must be quick and must not raise."""

    def begin(self, what: str, total_bytes: int | None = None) -> None:
        """A phase starts; `total_bytes` is None when it cannot be known."""

    def advance(self, byte_count: int, file_count: int = 0) -> None:
        """So many more bytes and files are done."""

    def note(self, text: str) -> None:
        """Something the user should read once, for example what was left out."""


def is_watched(progress: Progress) -> bool:
    """Tell whether a person is looking: then it is worth some work to know how much there is to do."""
    return bool(getattr(progress, "WATCHED", False))


class NoProgress:
    """A receiver that ignores everything."""

    def begin(self, what: str, total_bytes: int | None = None) -> None:
        """Ignore it."""

    def advance(self, byte_count: int, file_count: int = 0) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


SILENT: Progress = NoProgress()
"""The default receiver."""
