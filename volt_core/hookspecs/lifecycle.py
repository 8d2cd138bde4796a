"""Hooks that tell of events."""

from __future__ import annotations

from volt_core.hookspecs.markers import hookspec
from volt_core.models.workload import Workload


@hookspec
def volt_after_event(event: str, workload: Workload) -> None:
    """Called after something happened to a workload: ``create``, ``start``, ``stop``, ``kill``, ``delete``.

    Notifying hook. It is called in the process that caused the event and cannot change or veto it.

    .. versionadded:: 0.1
    """
