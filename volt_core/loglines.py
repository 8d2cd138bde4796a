"""Lines of a log: a long or slow one comes as several records, of which all but the last are partial."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator

from volt_core.contracts.backend import LogRecord

Line = list[LogRecord]


class _Assembly:
    """Puts lines together: those of the streams come mixed, and what one run left unfinished no other completes."""

    def __init__(self) -> None:
        self._begun: dict[str, Line] = {}
        self._run = ""

    def add(self, record: LogRecord) -> list[Line]:
        """Take the next record and return the lines that are over with it."""
        over = self.rest() if record.invocation != self._run else []
        self._run = record.invocation
        self._begun.setdefault(record.stream, []).append(record)
        return over if record.partial else [*over, self._begun.pop(record.stream)]

    def rest(self) -> list[Line]:
        """Return the lines that are not complete, and forget them."""
        begun, self._begun = self._begun, {}
        return list(begun.values())


def lines_of(records: Iterable[LogRecord]) -> Iterator[Line]:
    """Yield the records of each line together, when the line is complete; at the end, those that are not."""
    assembly = _Assembly()
    for record in records:
        yield from assembly.add(record)
    yield from assembly.rest()


def last_lines(records: Iterable[LogRecord], count: int) -> Iterator[LogRecord]:
    """Yield the records of the last `count` lines."""
    return itertools.chain.from_iterable(collections.deque(lines_of(records), maxlen=count))


def without_first_lines(records: Iterable[LogRecord], count: int) -> Iterator[LogRecord]:
    """Yield the records of all lines but the first `count`; those behind them as they come."""
    assembly = _Assembly()
    for record in records:
        if count <= 0:
            yield record
            continue
        over = assembly.add(record)
        yield from itertools.chain.from_iterable(over[count:])
        count -= len(over)
        if count <= 0:
            yield from itertools.chain.from_iterable(assembly.rest())


def matching_lines(records: Iterable[LogRecord], matches: Callable[[str], object]) -> Iterator[LogRecord]:
    """Yield the records of the lines whose text matches, each line when it is complete.

    Bytes that are no UTF-8 are surrogates in the text, as in a command line's arguments.
    """
    for line in lines_of(records):
        if matches(b"".join(record.data for record in line).decode("utf-8", "surrogateescape")):
            yield from line
