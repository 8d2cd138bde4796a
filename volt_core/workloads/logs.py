"""Parts of logs, for every backend alike: the lines that match, those of one run."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

import msgspec

from volt_core.contracts import Backend, LogRecord, PastLogs
from volt_core.errors import CapabilityMissing
from volt_core.loglines import last_lines, lines_of, matching_lines, without_first_lines
from volt_core.plugins import Plugins
from volt_core.plugins.probing import probe


class Excerpt(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of a log are wanted: all, unless something is set."""

    tail: int | None = None
    """Only the last so many of what is left."""
    since: int = 0
    """Nanoseconds since the epoch; only what is newer."""
    until: int = 0
    """Likewise; only what is not newer."""
    grep: re.Pattern[str] | None = None
    """Only lines in which it is found."""
    invocation: str = ""
    """Only those of one run."""

    def of(self, read: Callable[..., Iterator[LogRecord]], *, follow: bool = False) -> Iterator[LogRecord]:
        """Yield it of the log that `read` yields, which takes what :meth:`Backend.logs` does."""
        read = functools.partial(read, since=self.since, until=self.until)
        following = functools.partial(read, follow=True) if follow else read
        if self.grep is None and not self.invocation:
            return following(tail=self.tail)
        if self.tail is None:
            return self._wanted(following())
        if not follow:
            return last_lines(self._wanted(read()), self.tail)
        there = sum(1 for _ in lines_of(self._wanted(read())))
        return without_first_lines(self._wanted(following()), there - self.tail)

    def _wanted(self, records: Iterator[LogRecord]) -> Iterator[LogRecord]:
        of_run = (record for record in records if not self.invocation or record.invocation == self.invocation)
        return of_run if self.grep is None else matching_lines(of_run, self.grep.search)


EVERYTHING = Excerpt()


def keepers_of_logs(plugins: Plugins) -> list[type[Backend]]:
    """Return the backends that keep the logs of deleted workloads and can be used here.

    Raises :class:`CapabilityMissing` with every candidate's reason if there is none.
    """
    found: list[type[Backend]] = []
    reasons = []
    for name, backend in sorted(plugins.backends().items()):
        if issubclass(backend, PastLogs):
            answer = probe(backend)
            if answer.available:
                found.append(backend)
            else:
                reasons.append(f"{name}: {answer.reason}")
    if not found:
        raise CapabilityMissing(
            "Cannot read the log of a run by its invocation: no backend that can be used here keeps it",
            details="\n".join(reasons) or None,
            hint="Name the container, while it exists: volt logs NAME",
        )
    return found
