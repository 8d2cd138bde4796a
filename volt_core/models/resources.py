"""Limits of a workload, in the units of systemd's resource control."""

from __future__ import annotations

import msgspec


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits; None means unlimited."""

    memory_max: int | None = None
    """Bytes of memory, ``MemoryMax=``."""
    cpu_quota: float | None = None
    """Cores' worth of CPU time, ``CPUQuota=`` divided by 100."""
    tasks_max: int | None = None
    """Processes and threads, ``TasksMax=``."""

    @property
    def limited(self) -> bool:
        """Whether any limit is set."""
        return self != Resources()
