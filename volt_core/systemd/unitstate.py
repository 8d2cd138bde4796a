"""What systemd says of a unit: its properties on D-Bus, as a struct."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

ACTIVE = frozenset({"active", "activating", "deactivating", "reloading", "refreshing"})
_UNSET = 2**64 - 1


class UnitState(msgspec.Struct, frozen=True, kw_only=True):
    """What systemd says of a unit."""

    load: str
    active: str
    sub: str
    result: str = ""
    main_pid: int = 0
    invocation: str = ""
    freezer: str = "running"
    need_reload: bool = False
    fragment: str = ""
    entered: int = 0
    """Nanoseconds since the epoch when it last became active."""
    cpu_ns: int = 0
    memory_bytes: int | None = None
    """None where the memory controller is not there."""
    tasks: int | None = None
    stop_seconds: float | None = None
    """After which systemd kills what does not end; None is never."""

    @property
    def is_active(self) -> bool:
        """Whether processes of the unit exist, or are about to."""
        return self.active in ACTIVE


GONE = UnitState(load="not-found", active="inactive", sub="dead")


def read_state(values: Mapping[str, Any]) -> UnitState:
    """Return the state that properties tell, those of a unit and, if it is one, of a service."""
    stop = _known(values.get("TimeoutStopUSec", _UNSET))
    return UnitState(
        load=values["LoadState"],
        active=values["ActiveState"],
        sub=values["SubState"],
        result=values.get("Result", ""),
        main_pid=values.get("MainPID", 0),
        invocation=bytes(values["InvocationID"]).hex(),
        freezer=values.get("FreezerState", "running"),
        need_reload=values["NeedDaemonReload"],
        fragment=values["FragmentPath"],
        entered=values["InactiveExitTimestamp"] * 1000,
        cpu_ns=_known(values.get("CPUUsageNSec", 0)) or 0,
        memory_bytes=_known(values.get("MemoryCurrent", _UNSET)),
        tasks=_known(values.get("TasksCurrent", _UNSET)),
        stop_seconds=None if stop is None else stop / 1_000_000,
    )


def _known(value: int) -> int | None:
    return None if value == _UNSET else value
