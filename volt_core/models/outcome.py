"""How a run of a workload, or of a command in it, ended."""

from __future__ import annotations

import signal as signals
from typing import Literal

import msgspec

from volt_core.models.signals import signal_name

VOLT_FAILED = 125
CANNOT_EXECUTE = 126
COMMAND_NOT_FOUND = 127
_SIGNAL_BASE = 128
_ASKED = (signals.SIGTERM, signals.SIGINT, signals.SIGHUP, signals.SIGPIPE)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last outcome of a workload; stored as ``outcome.json`` beside its specification.

    Exactly one of `code` and `signal` is set when the payload ran; neither is when nobody saw
    its end, in which case `result` is ``lost``. Times are nanoseconds since the epoch.
    """

    schema: int = 1
    code: int | None = None
    signal: int | None = None
    core_dumped: bool = False
    oom: bool = False
    result: Literal["exited", "signaled", "not-started", "lost"] = "exited"
    reason: str = ""
    started: int = 0
    finished: int = 0
    invocation: str = ""

    @property
    def exit_status(self) -> int:
        """The number a shell would show: the code, 128 + signal, or 125 when it is not known."""
        if self.signal is not None:
            return _SIGNAL_BASE + self.signal
        return VOLT_FAILED if self.code is None else self.code

    @property
    def clean(self) -> bool:
        """Whether it ended as asked: with 0, or on a signal that asks; the list is systemd's.

        SIGKILL is not in it: an out-of-memory kill must not look like a stop.
        """
        return self.code == 0 or self.signal in _ASKED

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {signal_name(self.signal)}"
        return f"exited with {self.code}" if self.code is not None else self.reason or self.result
