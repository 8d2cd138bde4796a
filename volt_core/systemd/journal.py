"""The journal as a workload's log, read by journalctl.

The reader filters by fields that journald itself sets or that only root can set, never by text.
"""

from __future__ import annotations

import collections
import contextlib
import select
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import msgspec

from volt_core import run
from volt_core.contracts.backend import LogRecord
from volt_core.errors import CommandFailed

_FIELDS = "MESSAGE,PRIORITY,_LINE_BREAK,_COMM,_TRANSPORT,__REALTIME_TIMESTAMP"
_ERROR = "3"
_POLL_SECONDS = 0.2
_SYNC_SECONDS = 10.0
# nspawn writes to the same streams before the container begins, and after it has ended.
_NOT_THE_PAYLOAD = frozenset({"systemd-nspawn", "rootfs"})


class _Line(msgspec.Struct, rename={"time": "__REALTIME_TIMESTAMP", "line_break": "_LINE_BREAK", "comm": "_COMM"}):
    """One entry of ``journalctl -o json``: a field that is not UTF-8 comes as a list of its bytes."""

    time: str
    MESSAGE: str | list[int] | None = None
    PRIORITY: str = "6"
    line_break: str = ""
    comm: str | list[int] = ""


_decoder = msgspec.json.Decoder(_Line)


def read_journal(
    matches: Sequence[str],
    *,
    is_active: Callable[[], bool] | None = None,
    tail: int | None = None,
    since: int = 0,
    until: int = 0,
) -> Iterator[LogRecord]:
    """Yield what a workload wrote, oldest first.

    Args:
        matches: ``FIELD=value`` as journalctl takes them; all must hold.
        is_active: follow the log as long as this says so; None ends at its present end.
        tail: only the last so many lines.
        since, until: nanoseconds since the epoch; 0 is no limit.
    """
    sync_journal()
    argv = ["journalctl", "--quiet", "--no-pager", "--all", "--output=json", f"--output-fields={_FIELDS}"]
    if since:
        argv.append(f"--since=@{since / 1e9:.6f}")
    if until:
        argv.append(f"--until=@{until / 1e9:.6f}")
    argv += [*matches, "_TRANSPORT=stdout"]
    with run.start([*argv, "--no-tail", "--follow"] if is_active else argv, stdout=run.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        lines = _follow(process.stdout, is_active) if is_active else process.stdout
        records = (record for line in lines if (record := _record(line)) is not None)
        if is_active is None:
            yield from records if tail is None else collections.deque(records, maxlen=tail)
        else:
            yield from _with_tail(records, matches, tail, since)


def sync_journal() -> None:
    """Let journald write what it has received, so that a reader misses nothing. Only root may ask for it."""
    with contextlib.suppress(CommandFailed):
        run.run(["journalctl", "--sync"], timeout=_SYNC_SECONDS)


def _with_tail(
    records: Iterator[LogRecord], matches: Sequence[str], tail: int | None, since: int
) -> Iterator[LogRecord]:
    """Leave out the older of the lines that were there when following began."""
    if tail is None:
        yield from records
        return
    there = sum(1 for _ in read_journal(matches, since=since))
    for number, record in enumerate(records):
        if number >= there - tail:
            yield record


def _follow(stream: IO[bytes], is_active: Callable[[], bool]) -> Iterator[bytes]:
    """Yield lines as they come, until the workload is not active and all that it wrote has come."""
    pending = b""
    active = True
    while True:
        if select.select([stream], [], [], _POLL_SECONDS)[0]:
            chunk = stream.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            yield from lines
        elif not active:
            return
        elif not is_active():
            # Once more, since the last lines may lie between the journal's socket and its file.
            active = False
            sync_journal()


def _record(line: bytes) -> LogRecord | None:
    entry = _decoder.decode(line)
    if entry.MESSAGE is None or entry.comm in _NOT_THE_PAYLOAD:
        return None
    data = entry.MESSAGE.encode("utf-8") if isinstance(entry.MESSAGE, str) else bytes(entry.MESSAGE)
    return LogRecord(
        time=int(entry.time) * 1000,
        stream="stderr" if entry.PRIORITY == _ERROR else "stdout",
        data=data,
        partial=bool(entry.line_break),
    )
