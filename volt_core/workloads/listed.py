"""Workloads as they are found: what is known of each, and how it is."""

from __future__ import annotations

import msgspec

from volt_core.errors import StateError
from volt_core.models.workload import Workload, WorkloadStatus


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A workload and how it is."""

    workload: Workload
    status: WorkloadStatus


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What the workloads' folders hold."""

    listed: list[Listed]
    damaged: list[StateError]
