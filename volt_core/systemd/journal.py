"""The journal as a workload's log, read by journalctl.

The reader filters by fields that journald itself sets or that only root can set, never by text.
"""

from __future__ import annotations

import contextlib
import enum
import fnmatch
import functools
import select
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from volt_core import run
from volt_core.contracts.backend import LogRecord
from volt_core.errors import BackendError, CommandFailed, TimedOut
from volt_core.loglines import last_lines, lines_of, without_first_lines
from volt_core.systemd.unitfile import parse_unit

PERSISTENT = Path("/var/log/journal")
"""Where journald keeps what outlasts a reboot."""
CONSOLE_FIELD = "VOLT_STREAM=console"
"""Field of the entries of what has a console: there it is nspawn that writes what the payload wrote to it."""
_FIELDS = "MESSAGE,PRIORITY,_LINE_BREAK,_COMM,_SYSTEMD_CGROUP,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID,VOLT_STREAM"
_ERROR = "3"
_POLL_SECONDS = 0.2
_SYNC_SECONDS = 10.0
_END_SECONDS = 10.0
_CHUNK = 256 * 1024
# nspawn writes to the same streams before the container begins, and after it has ended.
_NOT_THE_PAYLOAD = ("systemd-nspawn", "rootfs")
_PAYLOAD_CGROUP = "/payload/"

STORAGE_HINT = "Set Storage=persistent in /etc/systemd/journald.conf, then: systemctl restart systemd-journald"


class Storage(enum.StrEnum):
    """Where journald keeps the journal."""

    PERSISTENT = "persistent"
    VOLATILE = "volatile"
    NONE = "none"


Text = str | list[int] | None
"""A field of ``journalctl -o json``: what is not UTF-8 comes as a list of its bytes."""


class _Entry(msgspec.Struct):
    cursor: str = msgspec.field(name="__CURSOR")
    time: str = msgspec.field(name="__REALTIME_TIMESTAMP")
    message: Text = msgspec.field(name="MESSAGE", default=None)
    priority: str = msgspec.field(name="PRIORITY", default="6")
    line_break: str = msgspec.field(name="_LINE_BREAK", default="")
    command: Text = msgspec.field(name="_COMM", default="")
    cgroup: str = msgspec.field(name="_SYSTEMD_CGROUP", default="")
    unit: str = msgspec.field(name="_SYSTEMD_UNIT", default="")
    invocation: str = msgspec.field(name="_SYSTEMD_INVOCATION_ID", default="")
    stream: str = msgspec.field(name="VOLT_STREAM", default="")

    @property
    def is_of_console(self) -> bool:
        """Whether nspawn copied it from a console. What it says itself goes to standard error."""
        return self.stream == "console" and self.command == "systemd-nspawn" and self.priority != _ERROR

    @property
    def is_of_payload(self) -> bool:
        """Whether the payload wrote it; what a process in there calls itself is its own affair."""
        return self.command not in _NOT_THE_PAYLOAD or _PAYLOAD_CGROUP in f"{self.cgroup}/" or self.is_of_console

    @property
    def record(self) -> LogRecord:
        """The entry as a record of the log."""
        return LogRecord(
            time=int(self.time) * 1000,
            stream="console" if self.is_of_console else "stderr" if self.priority == _ERROR else "stdout",
            data=self.message.encode() if isinstance(self.message, str) else bytes(self.message or ()),
            partial=bool(self.line_break),
            invocation=self.invocation,
        )


_decoder = msgspec.json.Decoder(_Entry)


def read_journal(
    matches: Sequence[str],
    *,
    units: str = "*",
    is_active: Callable[[], bool] | None = None,
    tail: int | None = None,
    since: int = 0,
    until: int = 0,
) -> Iterator[LogRecord]:
    """Yield what a workload wrote, oldest first, in whichever namespace of the journal.

    Args:
        matches: ``FIELD=value`` as journalctl takes them; all must hold.
        units: pattern of the units that may have written it.
        is_active: follow the log as long as this says so; None ends at its present end.
        tail: only the last so many lines.
        since, until: nanoseconds since the epoch, of which the journal keeps microseconds: only what is newer, and
            not newer; 0 is no limit.

    Raises :class:`BackendError` if the journal cannot be read, or journald keeps none.
    """
    query = functools.partial(build_journal_argv, matches, since=since, until=until)
    empty = True

    def records(entries: Iterator[_Entry]) -> Iterator[LogRecord]:
        nonlocal empty
        for entry in entries:
            empty = False
            record = entry.record
            # journalctl takes both limits as inclusive.
            if record.time > since and entry.is_of_payload and fnmatch.fnmatchcase(entry.unit, units):
                yield record

    sync_journal()
    if is_active is None:
        there = records(_read(query()))
        yield from there if tail is None else last_lines(there, tail)
    else:
        # Of the lines that are there when following begins, the older ones are left out.
        surplus = 0 if tail is None else sum(1 for _ in lines_of(records(_read(query())))) - tail
        yield from without_first_lines(records(_read_on(query, is_active)), surplus)
    if empty and find_storage() is Storage.NONE:
        raise BackendError("There is no journal to read: journald keeps nothing", hint=STORAGE_HINT)


def find_storage() -> Storage:
    """Return where journald is told to keep the journal; on a host without systemd's tools that is taken as usual."""
    text = ""
    with contextlib.suppress(BackendError):
        text = run.run(["systemd-analyze", "cat-config", "systemd/journald.conf"], timeout=_SYNC_SECONDS).stdout.decode(
            "utf-8", "replace"
        )
    # journald passes over what it does not know.
    told = [value for value in parse_unit(text).values("Journal", "Storage") if value in (*Storage, "auto")]
    if not told or told[-1] == "auto":
        return Storage.PERSISTENT if PERSISTENT.is_dir() else Storage.VOLATILE
    return Storage(told[-1])


def sync_journal() -> None:
    """Let journald write what it has received, so that a reader misses nothing. Only root may ask for it."""
    with contextlib.suppress(CommandFailed, TimedOut):
        run.run(["journalctl", "--sync"], timeout=_SYNC_SECONDS)


def build_journal_argv(
    matches: Sequence[str], *, follow: bool = False, after: str = "", since: int = 0, until: int = 0
) -> list[str]:
    """Build the command line that prints what matches, one JSON object a line; `after` is the cursor of an entry."""
    # It refuses two beginnings.
    begin = f"--after-cursor={after}" if after else f"--since={_moment(since)}" if since else ""
    return [
        *("journalctl", "--quiet", "--no-pager", "--all", "--namespace=*"),
        *("--output=json", f"--output-fields={_FIELDS}"),
        *([begin] if begin else []),
        *([f"--until={_moment(until)}"] if until else []),
        *(["--no-tail", "--follow"] if follow else []),
        *matches,
        "_TRANSPORT=stdout",
    ]


def _moment(nanoseconds: int) -> str:
    return f"@{nanoseconds // 10**9}.{nanoseconds % 10**9 // 1000:06d}"


def _read_on(query: Callable[..., list[str]], is_active: Callable[[], bool]) -> Iterator[_Entry]:
    """Yield the entries that are there, and others as they come, until the workload is not active."""
    cursor = ""
    for entry in _read(query(follow=True), is_active):
        cursor = entry.cursor
        yield entry
    # Its last lines may have been on the way to the journal; now they are in it.
    sync_journal()
    yield from _read(query(after=cursor))


def _read(argv: Sequence[str], is_active: Callable[[], bool] | None = None) -> Iterator[_Entry]:
    """Yield the entries that journalctl prints, to its end or until it is silent and the workload is not active."""
    pending = b""
    with tempfile.TemporaryFile() as errors, run.start(argv, stdout=run.PIPE, stderr=errors) as process:
        stdout = process.stdout
        assert stdout is not None  # noqa: S101 - for the type checker
        while is_active is None or _await_data(stdout, is_active):
            chunk = stdout.read1(_CHUNK)  # type: ignore[attr-defined]
            if not chunk:
                if process.wait(_END_SECONDS):
                    errors.seek(0)
                    raise _unreadable(run.failure(argv, process.returncode, errors.read()))
                return
            *lines, pending = (pending + chunk).split(b"\n")
            yield from map(_decoder.decode, lines)


def _await_data(stream: IO[bytes], is_active: Callable[[], bool]) -> bool:
    while not select.select([stream], [], [], _POLL_SECONDS)[0]:
        if not is_active():
            return False
    return True


def _unreadable(error: CommandFailed) -> BackendError:
    return BackendError(
        "Cannot read the journal",
        details=error.details,
        hint="Only root and the group systemd-journal may; 'journalctl --verify' finds what is damaged.",
    )
