"""What was left out, said once per reason."""

from __future__ import annotations

from volt_cas import below


class Notes:
    """Counts per reason and keeps the first path of each."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, path: bytes) -> None:
        """Count one more."""
        count, first = self._found.get(what, (0, below.shown(path)))
        self._found[what] = count + 1, first

    def texts(self) -> tuple[str, ...]:
        """Return one line per reason."""
        return tuple(
            f"Left out {what}: {count}, the first at '{first}'" for what, (count, first) in self._found.items()
        )
