"""What travels between a backend and the supervisor, and what the supervisor leaves on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self, TypeAlias

import msgspec

from volt_core.models.outcome import Outcome

STATUS_FD = "{status-fd}"
"""Stands in an argv for the number of the descriptor on which Volt's ``init`` reports."""

Stream: TypeAlias = Literal["stdout", "stderr", "console"]
# The kernel answers EINVAL to other signals, and a terminal keeps its size in 16 bits.
SignalNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=64)]
Cells: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=65535)]

OUTCOME_FILE = "outcome.json"
RECORD_FILE = "supervisor.json"
SOCKET_FILE = "supervisor.sock"
LOCK_FILE = "supervisor.lock"
CRASH_FILE = "supervisor.err"


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process to start. Bytes, because arguments and values are; `env` is all that it gets."""

    argv: tuple[bytes, ...]
    env: tuple[tuple[bytes, bytes], ...] = ()
    cwd: str = "/"
    tty: bool = False
    size: tuple[Cells, Cells] = (24, 80)
    """Rows and columns of the pseudo terminal."""
    reports: bool = False
    """Whether it speaks the protocol of Volt's ``init`` on the descriptor named by :data:`STATUS_FD`."""

    @classmethod
    def of(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        tty: bool = False,
        size: tuple[int, int] = (24, 80),
    ) -> Self:
        """Build it from text; it reports if its argv says where."""
        return cls(
            argv=tuple(map(os.fsencode, argv)),
            env=tuple((os.fsencode(name), os.fsencode(value)) for name, value in env.items()),
            tty=tty,
            size=size,
            reports=STATUS_FD in argv,
        )


class PrivateMount(msgspec.Struct, frozen=True, kw_only=True):
    """A mount that only this workload sees; `target` exists and is of the kind of `source`."""

    type: Literal["bind", "bind-ro", "tmpfs", "overlay"]
    target: str
    source: str = ""
    """Of an overlay the lower directory, which stays as it is."""
    upper: str = ""
    """Of an overlay the directory that takes what is written; on the same file system as `work`."""
    work: str = ""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor runs. It holds the environment, so it never appears on a command line."""

    id: str
    """Value of the marker :data:`volt_core.processes.MARKER`, which the process's environment must contain."""
    folder: str
    """Absolute; the supervisor's files lie in it."""
    log: str
    """Absolute path of the log, appended to."""
    process: Process
    invocation: str
    """32 hex digits, new with each run."""
    mounts: tuple[PrivateMount, ...] = ()
    stop_signal: SignalNumber = 15
    stop_timeout: float = 10.0
    """What the supervisor does when it is itself asked to end, as at shutdown."""


class SupervisorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``supervisor.json``: enough to tell, without asking, whether the run it describes goes on."""

    schema: int = 1
    pid: int
    pid_start: int
    """Start time of `pid` in clock ticks since boot: pids come again, pairs do not."""
    boot_id: str
    payload_pid: int
    payload_start: int
    started: int
    """Nanoseconds since the epoch."""
    invocation: str


# Requests. Start and Exec carry descriptors: a memfd with the Launch or Process, then the streams.
class Start(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Run the launch description; streams follow the memfd if the caller wants to see them."""


class Exec(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Run one more process; streams follow the memfd."""


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Send a signal to the process that this connection started."""

    number: SignalNumber


class Resize(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The terminal of this connection has a new size."""

    rows: Cells
    columns: Cells


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End the workload: `signal`, and SIGKILL after `timeout` seconds. Answered by Ended."""

    signal: SignalNumber
    timeout: Annotated[float, msgspec.Meta(ge=0)]


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Tell when the workload has ended. Answered by Ended."""


# Answers.
class Started(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The process runs."""

    pid: int


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It could not be started: 126 or 127 as in a shell, else 125."""

    code: int
    reason: str
    busy: bool = False
    """Another supervisor runs the workload."""


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It has ended, and all its output has been delivered."""

    outcome: Outcome


Request: TypeAlias = Start | Exec | Signal | Resize | Stop | Watch
Answer: TypeAlias = Started | Failed | Ended
