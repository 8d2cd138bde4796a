"""What was left out or done otherwise, said once per reason."""

from __future__ import annotations

from volt_cas import below


class Notes:
    """Counts per reason and keeps the first path of each."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, path: bytes, *, done: str = "Left out", count: int = 1) -> None:
        """Count one more, or `count`, of which `path` is the first; `done` says what was done with it."""
        key = f"{done} {what}"
        before, first = self._found.get(key, (0, below.shown(path)))
        self._found[key] = before + count, first

    def texts(self) -> tuple[str, ...]:
        """Return one line per reason."""
        return tuple(f"{what}: {count}, the first at '{first}'" for what, (count, first) in self._found.items())
