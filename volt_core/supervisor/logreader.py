"""Reading a workload's log: all of it, its tail, or as it grows."""

from __future__ import annotations

import functools
import os
import time
from calendar import timegm
from collections.abc import Callable, Iterator
from pathlib import Path

from volt_core.contracts.backend import LogRecord
from volt_core.supervisor.model import Stream

_BLOCK = 256 * 1024
_POLL_SECONDS = 0.05
_TIME_LENGTH = 30
_STREAMS: dict[bytes, Stream] = {b"stdout": "stdout", b"stderr": "stderr", b"console": "console"}


def read_log(
    path: Path,
    *,
    is_active: Callable[[], bool] | None = None,
    tail: int | None = None,
    since: int = 0,
    until: int = 0,
) -> Iterator[LogRecord]:
    """Yield the records of the log at `path`, oldest first; none if there is no log.

    With `is_active`, goes on as the log grows until that says False. `tail` counts lines, of which a long
    or slow one may be several records; `since` is in nanoseconds and leaves out what is not newer, `until`
    (0 is none) what is; lines after it are not counted by `tail`.
    """
    position: int | None = None
    while True:
        # Asked before the log is read, so that what was written before the end is not missed.
        goes_on = is_active is not None and is_active()
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            fd = -1
        if fd >= 0:
            try:
                # What comes while it is read is for the next round, or was not asked for.
                end = os.fstat(fd).st_size
                if position is None:
                    position = 0 if tail is None else _start_of_tail(fd, end, tail, since, until)
                elif position > end:
                    # Somebody has emptied it to make room; the writer goes on at its start.
                    position = 0
                while lines := _read_lines(fd, position, end):
                    position += len(lines)
                    yield from _parse(lines, since, until)
            finally:
                os.close(fd)
        if not goes_on:
            return
        time.sleep(_POLL_SECONDS)


def _read_lines(fd: int, position: int, end: int) -> bytes:
    """Return whole lines between the two positions, from the first on; empty if there is none."""
    data = os.pread(fd, min(_BLOCK, end - position), position)
    return data[: data.rfind(b"\n") + 1]


def _parse(lines: bytes, since: int, until: int) -> Iterator[LogRecord]:
    for line in lines.split(b"\n")[:-1]:
        record = _parse_line(line)
        if record is not None and record.time > since and not 0 < until < record.time:
            yield record


def _parse_line(line: bytes) -> LogRecord | None:
    """Return the record, or None for what no writer of ours wrote."""
    header = line[: _TIME_LENGTH + len(b" console F ")].split(b" ", 3)
    if len(header) != 4 or header[1] not in _STREAMS or header[2] not in (b"F", b"P"):
        return None
    try:
        moment = _parse_time(header[0])
    except ValueError:
        return None
    begin = sum(len(part) + 1 for part in header[:3])
    return LogRecord(time=moment, stream=_STREAMS[header[1]], data=line[begin:], partial=header[2] == b"P")


def _parse_time(text: bytes) -> int:
    if len(text) != _TIME_LENGTH or text[19:20] != b"." or not text.endswith(b"Z"):
        raise ValueError("not a time of ours")
    return _parse_second(text[:19]) * 1_000_000_000 + int(text[20:29])


@functools.lru_cache(maxsize=64)
def _parse_second(text: bytes) -> int:
    return timegm(time.strptime(text.decode("ascii"), "%Y-%m-%dT%H:%M:%S"))


def _start_of_tail(fd: int, end: int, count: int, since: int, until: int) -> int:
    """Return where the last `count` lines before `end` begin, of those newer than `since`."""
    start = end
    lines = 0
    for position, line in _lines_backwards(fd, end):
        record = _parse_line(line)
        if record is None or 0 < until < record.time:
            continue
        # Each F ends a line; an unfinished one at the very end has only P, and counts too.
        lines += not record.partial or lines == 0
        if lines > count or record.time <= since:
            break
        start = position
    return start


def _lines_backwards(fd: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines of a file before `end` with their positions, last first."""
    begin = end
    carry = b""
    whole = False  # what lies behind the last newline is no line yet
    while begin > 0:
        block_start = max(0, begin - _BLOCK)
        data = os.pread(fd, begin - block_start, block_start) + carry
        begin = block_start
        first, *lines = data.split(b"\n")
        position = begin + len(data)
        for line in reversed(lines):
            position -= len(line)
            if whole:
                yield position, line
            whole = True
            position -= 1
        carry = first
    if whole and carry:
        yield 0, carry
