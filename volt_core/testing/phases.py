"""A receiver of progress that keeps what it is told."""

from __future__ import annotations


class Phases:
    """A :class:`~volt_core.contracts.Progress` that somebody looks at."""

    WATCHED = True

    def __init__(self) -> None:
        self.phases: list[list[object]] = []
        """Name, announced bytes, and the bytes and files that were done, of each."""
        self.notes: list[str] = []
        self._bytes = self._files = 0

    def begin(self, what: str, total_bytes: int | None = None) -> None:
        """A phase starts."""
        self._bytes = self._files = 0
        self.phases.append([what, total_bytes, 0, 0])

    def advance(self, byte_count: int, file_count: int = 0) -> None:
        """So much more is done."""
        self._bytes += byte_count
        self._files += file_count
        self.phases[-1][2:] = self._bytes, self._files

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)
