"""The supervisor's files in the workload's folder: lock, socket, record and outcome."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from volt_core import processes
from volt_core.errors import WrongState
from volt_core.models.outcome import Outcome
from volt_core.state import StateFile
from volt_core.supervisor import control
from volt_core.supervisor.model import LOCK_FILE, OUTCOME_FILE, RECORD_FILE, SOCKET_FILE, SupervisorRecord

OUTCOMES = StateFile(Outcome)
RECORDS = StateFile(SupervisorRecord)
_NEW_RECORD = f".{RECORD_FILE}.tmp"
_RESERVE = 64 * 1024
_RECORD_RESERVE = 4096
_MARKER_SIZE = 256


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Keep supervisors out for the length of the block; yields False if one is there, if only about to begin."""
    lock = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield _try_lock(lock)
    finally:
        os.close(lock)


def find_marker(folder: Path) -> str:
    """Return the id that marks the processes of a run that has not ended cleanly; empty if there is none."""
    try:
        with open(folder / LOCK_FILE, "rb") as lock:
            return os.fsdecode(lock.read(_MARKER_SIZE).rstrip(b"\0"))
    except FileNotFoundError:
        return ""


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Place:
    """A workload's folder, held by one supervisor at a time. Raises :class:`WrongState` if another holds it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not _try_lock(self._lock):
            os.close(self._lock)
            raise WrongState("It is running already", hint="Stop it first.")
        self._record = -1

    def make_room(self, workload_id: str) -> None:
        """Take the room that record and outcome will need, for the workload may fill the disk at once."""
        # Given back at the end. Until then it says what marks the processes that a killed supervisor leaves.
        os.posix_fallocate(self._lock, 0, _RESERVE)
        os.pwrite(self._lock, os.fsencode(workload_id), 0)
        new = self._folder / _NEW_RECORD
        new.unlink(missing_ok=True)
        self._record = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.posix_fallocate(self._record, 0, _RECORD_RESERVE)
        # They tell of the run before; if this one leaves none, its end was not seen.
        (self._folder / RECORD_FILE).unlink(missing_ok=True)
        (self._folder / OUTCOME_FILE).unlink(missing_ok=True)

    def listen(self) -> socket.socket:
        """Return the listening socket."""
        return control.listen(self._folder)

    def write_record(self, payload: int, started: int, invocation: str) -> None:
        """Say that the payload runs."""
        record = SupervisorRecord(
            pid=os.getpid(),
            pid_start=processes.start_time(os.getpid()),
            boot_id=processes.boot_id(),
            payload_pid=payload,
            payload_start=processes.start_time(payload),
            started=started,
            invocation=invocation,
        )
        data = RECORDS.encode(record)
        os.pwrite(self._record, data, 0)
        os.ftruncate(self._record, len(data))
        os.close(self._record)
        self._record = -1
        # Atomic but not synced: after a crash of the machine it would be out of date anyway.
        (self._folder / _NEW_RECORD).rename(self._folder / RECORD_FILE)

    def leave(self, outcome: Outcome) -> None:
        """Keep the outcome and let the next supervisor in."""
        os.ftruncate(self._lock, 0)
        if self._record >= 0:
            os.close(self._record)
            (self._folder / _NEW_RECORD).unlink(missing_ok=True)
        try:
            OUTCOMES.write(self._folder / OUTCOME_FILE, outcome)
        except OSError as error:
            # The folder may be gone, its disk broken: whoever waits is told all the same.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT):
                raise
        (self._folder / SOCKET_FILE).unlink(missing_ok=True)
        os.close(self._lock)
