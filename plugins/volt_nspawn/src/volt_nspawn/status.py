"""What is true of a container: what systemd says of its unit, and how its last run ended."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from volt_core.errors import StateError
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Status, WorkloadStatus
from volt_core.state import StateFile
from volt_core.systemd.machine import find_leader, find_payload
from volt_core.systemd.unitstate import UnitState
from volt_nspawn.fallback import STUB_PAYLOAD

OUTCOMES = StateFile(Outcome)
_OUTCOME = "outcome.json"
_RUN = "run"
_REPORT_SIZE = 64 * 1024
_BEGIN = re.compile(rb"begin (\d{1,19}) ([0-9a-f]{32})\Z")
_PID = re.compile(rb"pid (\d{1,9})\Z")
_FROZEN = ("frozen", "freezing")


def status_of(folder: Path, unit: UnitState | None, *, boot: bool, note: str = "") -> WorkloadStatus:
    """Return the status of a container; `unit` is None, or not active, when nothing of it runs."""
    if unit is not None and unit.is_active:
        return WorkloadStatus(
            # A unit that was killed while it was frozen goes on saying so.
            status=Status.FROZEN if unit.freezer in _FROZEN else Status.RUNNING,
            pid=payload_pid(folder, unit, boot=boot),
            started=unit.entered,
            note=note,
        )
    try:
        outcome = last_outcome(folder)
    except StateError as error:
        return WorkloadStatus(status=Status.FAILED, outcome=_lost(folder, error.brief), note=error.brief)
    if outcome is None:
        return WorkloadStatus(status=Status.CREATED, note=note)
    clean = outcome.clean and outcome.result != "not-started"
    status = Status.STOPPED if clean else Status.FAILED
    return WorkloadStatus(status=status, started=outcome.started, outcome=outcome, note=note)


def last_outcome(folder: Path) -> Outcome | None:
    """Return how the last run ended, None before the first; only meant for a container that is not active."""
    kept = OUTCOMES.find(folder / _OUTCOME)
    if not (folder / _RUN).exists():
        return kept
    lost = _lost(folder, "nobody saw its end: the host went down, or its unit was removed")
    # Kept, but the report outlived what kept it.
    return kept if kept is not None and kept.invocation and kept.invocation == lost.invocation else lost


def has_kept(folder: Path, invocation: str) -> bool:
    """Tell whether the end of that run is the last one that was kept."""
    with contextlib.suppress(StateError):
        outcome = OUTCOMES.find(folder / _OUTCOME)
        return outcome is not None and outcome.invocation == invocation
    return False


def outcome_of(folder: Path, invocation: str) -> Outcome | None:
    """Return how that run ended, which is over, whatever has begun since; None before the first run.

    Without an invocation it is the last run, as :func:`last_outcome` has it.
    """
    if not invocation:
        return last_outcome(folder)
    outcome = OUTCOMES.find(folder / _OUTCOME)
    # A run that failed before it wrote anything has an end, but no invocation.
    if outcome is not None and outcome.invocation in (invocation, ""):
        return outcome
    lost = _lost(folder, "nobody saw its end: the host went down, or its unit was removed")
    if lost.invocation == invocation:
        return lost
    return Outcome(result="lost", reason="it was started again before its end could be read", invocation=invocation)


def payload_pid(folder: Path, unit: UnitState, *, boot: bool) -> int | None:
    """Return the payload's first process as the host numbers it; the report alone is not believed."""
    leader = find_leader(unit.main_pid)
    if boot or leader is None:
        return leader
    inner = next((int(match[1]) for line in _report(folder) if (match := _PID.match(line))), STUB_PAYLOAD)
    return find_payload(leader, inner)


def _lost(folder: Path, reason: str) -> Outcome:
    for line in _report(folder)[:1]:
        if match := _BEGIN.match(line):
            started = int(match[1])
            return Outcome(
                result="lost", reason=reason, started=started, finished=started, invocation=match[2].decode()
            )
    return Outcome(result="lost", reason=reason)


def _report(folder: Path) -> list[bytes]:
    """Return the lines of the report. The container has it open: root in there may write what it likes."""
    try:
        fd = os.open(folder / _RUN, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with open(fd, "rb") as file:
        return file.read(_REPORT_SIZE).split(b"\n")
