"""A workload: the one abstraction over container, virtual machine, service and task.

What is common stands in :class:`Workload`; what only one kind has, in its spec. The workload's own
folder holds it as ``container.json`` (or the file of its kind), and that file is the truth.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from volt_core.models.mount import Mount
from volt_core.models.network import PublishedPort
from volt_core.models.outcome import Outcome
from volt_core.models.resources import Resources
from volt_core.names import check_name


class Kind(enum.StrEnum):
    """What a workload is."""

    CONTAINER = "container"
    VM = "vm"
    SERVICE = "service"
    TASK = "task"


class Status(enum.StrEnum):
    """Where a workload is in its life cycle; the words of OCI and systemd."""

    CREATED = "created"
    RUNNING = "running"
    FROZEN = "frozen"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def active(self) -> bool:
        """Whether processes of the workload exist."""
        return self in (Status.RUNNING, Status.FROZEN)


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a container that has ended is started again, in Docker's words."""

    policy: Literal["no", "on-failure", "always", "unless-stopped"] = "no"
    """``always`` and ``unless-stopped`` also start it with the host."""
    max_retries: int = 0
    """For ``on-failure``: how often at most; 0 is no limit."""

    @property
    def with_host(self) -> bool:
        """Whether it starts with the host."""
        return self.policy in ("always", "unless-stopped")

    def __str__(self) -> str:
        return f"{self.policy}:{self.max_retries}" if self.max_retries else self.policy


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="container"):
    """What a container runs.

    `env` is not stored with the rest: values may be secret, so the core writes them to the file
    ``env`` (mode 0600) of the workload's folder and hands them back in :class:`Workload.spec`.
    """

    image: str
    """The name the user gave."""
    root: str
    """Digest of the image's tree; what the container really has, whatever the name means later."""
    command: tuple[str, ...]
    env: Mapping[str, str] = {}
    working_dir: str = "/"
    user: str = ""
    hostname: str = ""
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    resources: Resources = Resources()
    read_only: bool = False
    tty: bool = False
    stdin_open: bool = False
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 10.0
    """Seconds between the stop signal and SIGKILL."""
    network: Literal["", "none", "host"] = ""
    """Empty is the backend's own default."""
    boot: bool = False
    """Run the image's own init as the first process instead of a command."""
    privileged: bool = False
    """Without the confinement that the backend gives by default."""
    restart: RestartPolicy = RestartPolicy()


class VmSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="vm"):
    """What a virtual machine runs."""

    image: str
    root: str
    cpus: int = 1
    memory: int = 512 * 1024 * 1024
    """Bytes."""
    stop_timeout: float = 30.0


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="service"):
    """A plain program of the host as a service."""

    command: tuple[str, ...]
    env: Mapping[str, str] = {}
    user: str = ""
    stop_timeout: float = 10.0


Spec: TypeAlias = ContainerSpec | VmSpec | ServiceSpec


class Workload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workload as it was asked for; immutable, replaced as a whole when it changes."""

    schema: int = 1
    name: str
    id: str
    """32 hex digits, new with each create: two workloads of one name, one after the other, differ."""
    kind: Kind
    backend: str
    spec: Spec
    created: int
    """Nanoseconds since the epoch."""
    labels: Mapping[str, str] = {}
    auto_remove: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)


class WorkloadStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a backend says of a workload at this moment."""

    status: Status
    pid: int | None = None
    """The payload's first process as the host numbers it, while it runs."""
    started: int = 0
    """Nanoseconds since the epoch of the present or last start; 0 if it never ran."""
    outcome: Outcome | None = None
    """How the last run ended; None while running and before the first start."""
    note: str = ""
    """One line a person should know, for example that the supervisor is gone."""
