"""Why a container did not start, told so that somebody can act on it."""

from __future__ import annotations

import contextlib

from volt_core import run
from volt_core.errors import BackendError, BackendUnavailable, CommandFailed, StateError, TimedOut
from volt_core.models.outcome import Outcome
from volt_core.systemd.bus import JobFailed
from volt_core.systemd.journal import sync_journal
from volt_nspawn import status
from volt_nspawn.plan import ContainerPlan
from volt_nspawn.probe import probe

_LINES = 5
_SECONDS = 10.0


def start_error(plan: ContainerPlan, error: JobFailed, began: int) -> BackendError:
    """Return what to raise for a start job that failed.

    `began`, in nanoseconds since the epoch, tells its traces from those of earlier runs.
    """
    act, hint = f"Cannot start '{plan.name}'", f"See: journalctl -u {plan.unit}; volt logs {plan.name}"
    outcome = _outcome_since(plan, began)
    if outcome is not None and outcome.code is not None and outcome.reason:
        return BackendError(f"{act}: {outcome.reason}", hint=hint)
    host = probe()
    if not host.available:
        return BackendUnavailable(f"{act}: {host.reason}", hint=host.hint)
    reason = "it ended before it was ready"
    if outcome is None or outcome.result == "lost":
        reason = error.brief
    elif outcome.reason:
        reason = outcome.reason
    elif plan.boot:
        reason = _why_not_up(outcome)
    return BackendError(f"{act}: {reason}", details=_last_words(plan.unit, began), hint=hint)


def _outcome_since(plan: ContainerPlan, began: int) -> Outcome | None:
    with contextlib.suppress(StateError):
        outcome = status.last_outcome(plan.folder)
        if outcome is not None and outcome.finished >= began:
            return outcome
    return None


def _why_not_up(outcome: Outcome) -> str:
    if outcome.code is not None:
        return f"its init ended with {outcome.code} before it was up"
    return "its init ran out of memory" if outcome.oom else "its init was not up in time"


def _last_words(unit: str, since: int) -> str:
    """Return what the programs of a unit have said: rootfs and systemd-nspawn, if it came no further."""
    argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={_LINES}", f"--since=@{since / 1e9:.6f}"]
    try:
        sync_journal()
        said = run.run([*argv, f"_SYSTEMD_UNIT={unit}"], timeout=_SECONDS).stdout
    except (CommandFailed, BackendUnavailable, TimedOut):
        return ""
    return said.decode("utf-8", "replace")
