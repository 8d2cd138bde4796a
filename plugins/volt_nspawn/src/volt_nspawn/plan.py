"""From a container's specification to everything that its unit and its ``.nspawn`` file say."""

from __future__ import annotations

from pathlib import Path

import msgspec

from volt_core.contracts import Store
from volt_core.errors import InvalidSpec, NotFoundError
from volt_core.images.users import find_identity
from volt_core.models.image import DEFAULT_PATH
from volt_core.models.mount import Mount
from volt_core.models.resources import Resources
from volt_core.models.signals import parse_signal, signal_name
from volt_core.models.workload import ContainerSpec, RestartPolicy, Workload
from volt_core.paths import VoltPaths
from volt_core.systemd.libexec import have_programs, programs_folder
from volt_nspawn import fallback
from volt_nspawn.capabilities import FOR_COMMANDS, dropped
from volt_nspawn.environment import passed_names
from volt_nspawn.names import machine_name, unit_name

_SYSTEMD = (b"usr/lib/systemd/systemd", b"lib/systemd/systemd")
_INITS = (b"sbin/init", b"usr/sbin/init", *_SYSTEMD)
_START_SECONDS = 90.0
_BOOT_SECONDS = 180.0
"""Longer than what an init waits by itself for what does not come: two minutes for a network."""
_POWER_OFF_SYSTEMD = "SIGRTMIN+3"
_POWER_OFF_OTHERS = "SIGUSR2"
"""What busybox takes for poweroff; sysvinit has no signal for it."""


class ContainerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A container as systemd gets it; all paths are the host's unless they say otherwise."""

    name: str
    id: str
    unit: str
    machine: str
    folder: Path
    lower: Path
    """The store's linked tree of the image."""
    programs: Path
    scripted: bool
    """Whether there are scripts alone, and nspawn's stub is the first process of a command (fallback.py)."""
    attach: Path
    """Socket at which a foreground start waits for the unit."""
    command: tuple[str, ...]
    """With `boot`, what the init gets as arguments."""
    boot: bool
    notifies: bool
    """Whether the first process says when it is ready."""
    hostname: str
    working_dir: str
    user: str
    """UID:GID."""
    defaults: tuple[str, ...]
    """Variables that the payload has unless its own say otherwise; none with `boot`."""
    passed: tuple[str, ...]
    """Names of the variables that nspawn is to pass on from its own environment; none where `init` sets them."""
    mounts: tuple[Mount, ...]
    drop_capabilities: tuple[str, ...]
    privileged: bool
    read_only: bool
    private_network: bool
    tty: bool
    stop_signal: str
    """What systemd-nspawn sends to the first process when it is asked to end."""
    start_timeout: float
    stop_timeout: float
    restart: RestartPolicy
    resources: Resources
    instance: str = ""
    asks_with: str = ""
    """The signal by which the unit itself asks a command to end, before nspawn does; with scripts alone."""


def spec_of(workload: Workload) -> ContainerSpec:
    """Return the specification of a container. Raises :class:`InvalidSpec` for anything else."""
    if not isinstance(workload.spec, ContainerSpec):
        raise InvalidSpec(f"Backend 'nspawn' cannot run '{workload.name}': it is no container")
    return workload.spec


def plan_container(workload: Workload, paths: VoltPaths, store: Store) -> ContainerPlan:
    """Resolve what the specification leaves to the image. Raises :class:`InvalidSpec`."""
    spec = spec_of(workload)
    lower = store.linked_tree(spec.root)
    is_systemd = spec.boot and _has(store, spec.root, _SYSTEMD)
    _check(workload, spec, store)
    identity = find_identity(lower, "" if spec.boot else spec.user)
    hostname = spec.hostname or workload.name
    scripted = not have_programs()
    plan = ContainerPlan(
        name=workload.name,
        id=workload.id,
        unit=unit_name(paths, workload.name),
        machine=machine_name(paths, workload.name),
        folder=paths.workload(workload.kind, workload.name),
        lower=lower,
        programs=programs_folder(paths),
        scripted=scripted,
        attach=attach_socket(paths, workload.name),
        command=_init_arguments(hostname, is_systemd) if spec.boot else spec.command,
        boot=spec.boot,
        notifies=is_systemd or not (spec.boot or scripted),
        hostname=hostname,
        working_dir=spec.working_dir or "/",
        user=f"{identity.uid}:{identity.gid}",
        defaults=() if spec.boot else _defaults(hostname, identity.home, spec.tty),
        passed=tuple(passed_names(spec.env, scripted)) if spec.boot or scripted else (),
        mounts=spec.mounts,
        drop_capabilities=() if spec.boot or spec.privileged else dropped(FOR_COMMANDS),
        privileged=spec.privileged,
        read_only=spec.read_only,
        private_network=spec.network != "host",
        tty=spec.tty,
        stop_signal=_stop_signal(spec, is_systemd),
        start_timeout=_BOOT_SECONDS if spec.boot else _START_SECONDS,
        stop_timeout=spec.stop_timeout,
        restart=spec.restart,
        resources=spec.resources,
        instance=paths.instance,
    )
    if scripted:
        fallback.check(workload.name, spec, plan.user)
    return fallback.adapt(plan) if scripted and not spec.boot else plan


def attach_socket(paths: VoltPaths, name: str) -> Path:
    """Return where a foreground start of a container waits for its unit."""
    return paths.run / "containers" / name / "attach"


def _defaults(hostname: str, home: str, tty: bool) -> tuple[str, ...]:
    return (f"PATH={DEFAULT_PATH}", f"HOME={home}", f"HOSTNAME={hostname}", *(["TERM=xterm"] if tty else []))


def _init_arguments(hostname: str, is_systemd: bool) -> tuple[str, ...]:
    # systemd would take the name from the image's /etc/hostname; in a container its arguments are the kernel's.
    return (f"systemd.hostname={hostname}",) if is_systemd else ()


def _stop_signal(spec: ContainerSpec, is_systemd: bool) -> str:
    number = parse_signal(spec.stop_signal)
    if spec.boot and spec.stop_signal == "SIGTERM":
        return _POWER_OFF_SYSTEMD if is_systemd else _POWER_OFF_OTHERS
    return signal_name(number)


def _check(workload: Workload, spec: ContainerSpec, store: Store) -> None:
    if spec.boot and not _has(store, spec.root, _INITS):
        raise InvalidSpec(
            f"Cannot create '{workload.name}': image '{spec.image}' has no init to boot",
            hint="Leave out --boot and name a command, or choose an image with an init.",
        )
    if not spec.boot and not spec.command:
        raise InvalidSpec(
            f"Cannot create '{workload.name}': there is no command", hint="Give one: the image has no default."
        )


def _has(store: Store, digest: str, paths: tuple[bytes, ...]) -> bool:
    return any(_exists(store, digest, path) for path in paths)


def _exists(store: Store, digest: str, path: bytes) -> bool:
    try:
        return next(iter(store.entries(digest, path, recursive=False)), None) is not None
    except NotFoundError:
        return False
