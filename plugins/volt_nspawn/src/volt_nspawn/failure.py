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


def start_error(plan: ContainerPlan, error: JobFailed) -> BackendError:
    """Return what to raise for a start job that failed."""
    act, hint = f"Cannot start '{plan.name}'", f"See: journalctl -u {plan.unit}; volt logs {plan.name}"
    outcome = _outcome_of(plan)
    if outcome is not None and outcome.code is not None and outcome.reason:
        return BackendError(f"{act}: {outcome.reason}", hint=hint)
    host = probe()
    if not host.available:
        return BackendUnavailable(f"{act}: {host.reason}", hint=host.hint)
    if outcome is None or outcome.result == "lost":
        return BackendError(f"{act}: {error.brief}", hint=hint)
    details = _last_words(outcome.invocation)
    return BackendError(f"{act}: {outcome.reason or 'it ended before it was ready'}", details=details, hint=hint)


def _outcome_of(plan: ContainerPlan) -> Outcome | None:
    with contextlib.suppress(StateError):
        return status.last_outcome(plan.folder)
    return None


def _last_words(invocation: str) -> str:
    """Return what the programs of that run have said: rootfs and systemd-nspawn, if it came no further."""
    sync_journal()
    argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={_LINES}"]
    try:
        said = run.run([*argv, f"_SYSTEMD_INVOCATION_ID={invocation}"], timeout=_SECONDS).stdout
    except (CommandFailed, BackendUnavailable, TimedOut):
        return ""
    return said.decode("utf-8", "replace")
