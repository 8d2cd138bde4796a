"""The contract of a backend: what runs workloads of one kind.

The base class is small, so that it fits a container, a virtual machine and a service alike. Whatever
else a backend can do is a *facet*: a class it also inherits from, found by ``isinstance``, listed as a
capability. A facet that is inherited works; nothing raises "not implemented".

What the core does before it calls: names are checked, the workload's lock is held for create, start,
stop, freeze, thaw and delete, its folder exists, its image's tree is pinned in the store. Anything else may
come at any moment, also in the middle of those. What the core never does: touch processes, or read what the
backend keeps in the folder.

The promises carry numbers; ``docs/backend-contract.md`` explains them, :mod:`volt_core.testing` tests them.
"""

from __future__ import annotations

import abc
import enum
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import msgspec

from volt_core.models.outcome import Outcome
from volt_core.models.workload import Kind, Workload, WorkloadStatus

if TYPE_CHECKING:
    from volt_core.contracts.store import Store
    from volt_core.paths import VoltPaths


class Capability(enum.StrEnum):
    """Names of the facets.

    B-24: A class inherits from a facet if, and only if, it can do it: others ask by ``isinstance``.
    """

    EXEC = "exec"
    ATTACH = "attach"
    FREEZE = "freeze"
    STATS = "stats"
    LIMITS = "limits"
    PORTS = "ports"
    SNAPSHOT = "snapshot"
    RENAME = "rename"
    BOOT = "boot"
    RESTART = "restart"
    PRIVILEGED = "privileged"
    NETWORK = "network"
    PAST_LOGS = "past-logs"


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this host can do it, with a reason that a person can act on."""

    available: bool
    reason: str = ""
    hint: str = ""
    version: str = ""

    @classmethod
    def yes(cls, version: str = "") -> Self:
        """It works here."""
        return cls(available=True, version=version)

    @classmethod
    def no(cls, reason: str, hint: str = "") -> Self:
        """It does not, because of `reason`; `hint` says what to do."""
        return cls(available=False, reason=reason, hint=hint)


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's file descriptors for a foreground run or an exec; they stay the caller's.

    With `tty` the payload gets a pseudo terminal of its own, and `stdin` and `stdout` are the
    caller's side of it, a terminal or not; `size` is rows and columns. The backend sets no terminal
    mode: that is the command line's work.

    `events` is the read end of a pipe on which each byte is a signal number, as
    :func:`signal.set_wakeup_fd` writes them: the backend forwards the signal to the process it runs, and
    takes SIGWINCH as news that the size of the terminal at `stdin` has changed.
    """

    stdin: int
    stdout: int
    stderr: int
    tty: bool = False
    size: tuple[int, int] = (24, 80)
    events: int | None = None


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a workload's log, without its newline; `partial` if the newline has not come yet."""

    time: int
    """Nanoseconds since the epoch."""
    stream: Literal["stdout", "stderr", "console"]
    data: bytes
    partial: bool = False
    invocation: str = ""
    """Of the run that wrote it, as in :class:`~volt_core.models.outcome.Outcome`; empty if the backend has none."""


class BackendContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend is given to work with."""

    paths: VoltPaths
    open_store: Callable[[], Store]
    """Gives the instance's store; called when a backend first needs it, which a status never does."""


class Backend(abc.ABC):
    """Runs workloads of one kind.

    B-10: Instances are cheap and keep no state of their own: each command makes a new one, and two
    processes may use two at once. State lives in the workload's folder.

    B-25: The root file system is the workload's own, kept from run to run until delete; binds are the host's.

    B-26: Arguments, values of variables and names reach the payload as they are, and mean nothing on their way.

    B-27: An image is hostile: whatever lies in the place of a file that the backend reads, it runs or is refused.

    B-28: Anything may be called from several threads and processes at once, in the middle of anything else.

    B-29: A caller may be killed at any moment: stop and delete then clear away all that it has begun.
    """

    NAME: ClassVar[str]
    KIND: ClassVar[Kind]
    PRIORITY: ClassVar[int] = 0
    """Among the backends of a kind whose probe succeeds, the highest is the default."""

    def __init__(self, context: BackendContext) -> None:
        self.paths = context.paths
        self._open_store = context.open_store

    @functools.cached_property
    def store(self) -> Store:
        """The instance's store."""
        return self._open_store()

    @classmethod
    @abc.abstractmethod
    def probe(cls) -> Probe:
        """B-9: Can this host run it. Quick, without side effects, never raises."""

    @abc.abstractmethod
    def create(self, workload: Workload) -> None:
        """B-1: Prepare everything in the workload's folder so that a start is all that is missing.

        The folder exists and is empty but for files of the core. Refuses with
        :class:`CapabilityMissing` a spec that asks for a facet the backend lacks. When it raises, the
        core removes the folder.
        """

    @abc.abstractmethod
    def start(self, workload: Workload) -> None:
        """B-2: Start it, detached; returns when the payload runs.

        Raises :class:`BackendError` if it cannot; a command that is not found or not executable
        leaves an outcome of 127 or 126. On a workload that is active it raises :class:`WrongState` and
        changes nothing; the core looks before it calls.
        """

    def renew(self, workload: Workload) -> None:  # noqa: B027 - nothing to renew is the usual case
        """B-2: Bring up to date what a start of it would, and no more; what is active is left alone.

        The default is for who renders nothing.

        Before several workloads are started the core calls it for each, so that what is dear can be done once for all.
        """

    @abc.abstractmethod
    def stop(self, workload: Workload, timeout: float) -> None:
        """B-3: Ask it to end, and after `timeout` seconds make it. Nothing of it runs afterwards.

        Idempotent: nothing to stop is success. A frozen workload is ended as well.
        """

    @abc.abstractmethod
    def kill(self, workload: Workload, signal: int) -> None:
        """B-4: Send `signal` to the payload's first process. Raises :class:`WrongState` if it is not active."""

    @abc.abstractmethod
    def delete(self, workload: Workload) -> None:
        """B-5: Release all that lies outside the workload's folder, and in it what the core could not remove.

        Only called when it is not active. Must succeed on what an interrupted create or delete left.
        """

    @abc.abstractmethod
    def status(self, workload: Workload) -> WorkloadStatus:
        """B-6: What is true now. Quick, never blocks, does not trust a record of the past without looking."""

    def statuses(self, workloads: Sequence[Workload]) -> Mapping[str, WorkloadStatus]:
        """B-6: Status of many by name; override it where asking once is cheaper."""
        return {workload.name: self.status(workload) for workload in workloads}

    @abc.abstractmethod
    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        """B-7: Block until it is not active and return the outcome; at once if it already ended.

        Raises :class:`TimedOut`, and :class:`WrongState` if it was never started.
        """

    @abc.abstractmethod
    def logs(
        self, workload: Workload, *, follow: bool = False, tail: int | None = None, since: int = 0, until: int = 0
    ) -> Iterator[LogRecord]:
        """B-8: Yield the log, oldest first: of all runs, also of the ended ones.

        `tail` limits it to the last so many lines, `since` and `until` (ns, 0 is none) to those between;
        `follow` goes on until the workload is not active.
        """


class Exec(abc.ABC):
    """More commands inside a running workload."""

    @abc.abstractmethod
    def exec(
        self,
        workload: Workload,
        command: Sequence[str],
        streams: Streams,
        *,
        env: Mapping[str, str] = {},
        working_dir: str = "",
        user: str = "",
    ) -> Outcome:
        """B-11: Run `command` with the caller's streams and wait for it; 126 and 127 as in a shell.

        Raises :class:`WrongState` if the workload is not running. Stopping the workload ends it.
        """


class Attach(abc.ABC):
    """Foreground runs: the payload's streams are the caller's."""

    @abc.abstractmethod
    def run_attached(self, workload: Workload, streams: Streams, started: Callable[[], None]) -> Outcome:
        """B-12: Start it with the caller's streams, byte for byte, and wait for the end.

        Calls `started` once, when the payload runs or turned out not to: the core then releases the
        workload's lock, so that others can stop it. The workload and its log survive the caller. When the
        caller's stdout is closed by its reader, the payload meets SIGPIPE as it would without Volt.
        """


class Freeze(abc.ABC):
    """Suspend all processes without their knowledge."""

    @abc.abstractmethod
    def freeze(self, workload: Workload) -> None:
        """B-13: Suspend; a status of ``frozen`` follows. Idempotent. Raises :class:`WrongState` if not active."""

    @abc.abstractmethod
    def thaw(self, workload: Workload) -> None:
        """B-13: Resume. Idempotent. Raises :class:`WrongState` if not active."""


class StatsSample(msgspec.Struct, frozen=True, kw_only=True):
    """What a workload uses at one moment."""

    cpu_ns: int
    memory_bytes: int
    tasks: int


class Stats(abc.ABC):
    """Measure what it uses."""

    @abc.abstractmethod
    def stats(self, workload: Workload) -> StatsSample:
        """B-14: Return one sample; raises :class:`WrongState` when it is not active."""


class Limits:
    """B-15: Enforces :class:`~volt_core.models.resources.Resources`: a marker, the spec carries the values."""


class Ports:
    """B-16: Publishes ports: a marker, the spec carries them."""


class Snapshot(abc.ABC):
    """Keep the present content of a workload as a tree of the store."""

    @abc.abstractmethod
    def snapshot(self, workload: Workload) -> str:
        """B-17: Store the root file system and return the tree's digest."""


class Rename(abc.ABC):
    """Give it another name."""

    @abc.abstractmethod
    def rename(self, workload: Workload, name: str) -> None:
        """B-18: Rename what lies outside the workload's folder; the workload must not be active."""


class Boot:
    """B-19: Runs the image's own init (``spec.boot``); a start returns when that is up: a marker."""


class Restart:
    """B-20: Starts a container again by ``spec.restart``, with nothing of Volt's running: a marker."""


class Privileged:
    """B-21: Can leave out the confinement that it gives by default (``spec.privileged``): a marker."""


class Network:
    """B-22: Gives a container no network, or the host's, as ``spec.network`` says: a marker."""


class PastLogs(abc.ABC):
    """Logs of runs whose workload may be gone."""

    @abc.abstractmethod
    def past_logs(
        self, invocation: str, *, tail: int | None = None, since: int = 0, until: int = 0
    ) -> Iterator[LogRecord]:
        """B-23: Yield the log of one run by its invocation id (``Outcome.invocation``), as :meth:`Backend.logs`."""


FACETS: Mapping[Capability, type] = {
    Capability.EXEC: Exec,
    Capability.ATTACH: Attach,
    Capability.FREEZE: Freeze,
    Capability.STATS: Stats,
    Capability.LIMITS: Limits,
    Capability.PORTS: Ports,
    Capability.SNAPSHOT: Snapshot,
    Capability.RENAME: Rename,
    Capability.BOOT: Boot,
    Capability.RESTART: Restart,
    Capability.PRIVILEGED: Privileged,
    Capability.NETWORK: Network,
    Capability.PAST_LOGS: PastLogs,
}


def capabilities_of(backend: type[Backend]) -> frozenset[Capability]:
    """Return what a backend class can do, by the facets it inherits."""
    return frozenset(capability for capability, facet in FACETS.items() if issubclass(backend, facet))
