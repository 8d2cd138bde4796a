"""What is true of a container: what systemd says of its unit, and how its last run ended."""

from __future__ import annotations

from pathlib import Path

from volt_core.errors import StateError
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Status, WorkloadStatus
from volt_core.state import StateFile
from volt_core.systemd.bus import UnitState
from volt_core.systemd.machine import find_leader, find_payload

OUTCOMES = StateFile(Outcome)
_OUTCOME = "outcome.json"
_RUN = "run"
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
    if (folder / _RUN).exists():
        return _lost(folder, "nobody saw its end: the host went down, or its unit was removed")
    return OUTCOMES.find(folder / _OUTCOME)


def payload_pid(folder: Path, unit: UnitState, *, boot: bool) -> int | None:
    """Return the payload's first process as the host numbers it."""
    leader = find_leader(unit.main_pid)
    if boot or leader is None:
        return leader
    for line in _report(folder):
        word, _, number = line.partition(" ")
        if word == "pid":
            return find_payload(leader, int(number))
    return None


def _lost(folder: Path, reason: str) -> Outcome:
    started, invocation = 0, ""
    for line in _report(folder):
        words = line.split(" ")
        if words[0] == "begin" and len(words) >= 3:
            started, invocation = int(words[1]), words[2]
    return Outcome(result="lost", reason=reason, started=started, finished=started, invocation=invocation)


def _report(folder: Path) -> list[str]:
    try:
        return (folder / _RUN).read_text("ascii", "replace").splitlines()
    except FileNotFoundError:
        return []
