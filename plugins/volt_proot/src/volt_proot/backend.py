"""The proot backend: containers as ordinary processes of whoever starts them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from volt_core import native
from volt_core.contracts import Attach, Backend, CheckoutMode, Exec, LogRecord, Probe, Stats, StatsSample, Streams
from volt_core.errors import CapabilityMissing, InvalidSpec
from volt_core.images.users import Identity, find_identity
from volt_core.models.image import DEFAULT_PATH
from volt_core.models.outcome import Outcome
from volt_core.models.signals import parse_signal
from volt_core.models.workload import ContainerSpec, Kind, Workload, WorkloadStatus
from volt_core.processes import MARKER
from volt_core.supervisor.client import Supervised
from volt_core.supervisor.logreader import read_log
from volt_core.supervisor.model import Launch, Process
from volt_proot import probe
from volt_proot.argv import build_proot_argv, split_environment
from volt_proot.binds import ROOT, TEMPORARY, plan_layout, prepare_layout

_TERM = "xterm"
_LOG = "log"


class ProotBackend(Backend, Exec, Attach, Stats):
    """Runs containers under proot, each with a private copy of its image and a supervisor of its own."""

    NAME: ClassVar[str] = "proot"
    KIND: ClassVar[Kind] = Kind.CONTAINER
    PRIORITY: ClassVar[int] = 10

    @classmethod
    def probe(cls) -> Probe:
        return probe.probe()

    def create(self, workload: Workload) -> None:
        spec = _spec(workload)
        folder = self._folder(workload)
        _refuse(workload.name, spec, folder)
        parse_signal(spec.stop_signal)
        self.store.checkout(spec.root, folder / ROOT, mode=CheckoutMode.AUTO)
        find_identity(folder / ROOT, spec.user)
        prepare_layout(folder, spec, _hostname(workload))

    def start(self, workload: Workload) -> None:
        self._supervised(workload).start(self._prepare(workload))

    def run_attached(self, workload: Workload, streams: Streams, started: Callable[[], None]) -> Outcome:
        try:
            launch = self._prepare(workload, streams)
        except BaseException:
            started()
            raise
        return self._supervised(workload).run_attached(launch, streams, started)

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
        process = self._process(
            workload,
            command,
            env=env,
            working_dir=working_dir,
            user=user,
            tty=streams.tty,
            size=streams.size,
        )
        return self._supervised(workload).exec(process, streams)

    def stop(self, workload: Workload, timeout: float) -> None:
        self._supervised(workload).stop(parse_signal(_spec(workload).stop_signal), timeout)

    def kill(self, workload: Workload, signal: int) -> None:
        self._supervised(workload).send_signal(signal)

    def delete(self, workload: Workload) -> None:
        self._supervised(workload).clean()

    def status(self, workload: Workload) -> WorkloadStatus:
        return self._supervised(workload).status()

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        return self._supervised(workload).wait(timeout)

    def logs(
        self, workload: Workload, *, follow: bool = False, tail: int | None = None, since: int = 0, until: int = 0
    ) -> Iterator[LogRecord]:
        supervised = self._supervised(workload)
        is_active = (lambda: supervised.status().status.active) if follow else None
        return read_log(self._folder(workload) / _LOG, is_active=is_active, tail=tail, since=since, until=until)

    def stats(self, workload: Workload) -> StatsSample:
        return self._supervised(workload).stats()

    def _folder(self, workload: Workload) -> Path:
        return self.paths.workload(workload.kind, workload.name)

    def _supervised(self, workload: Workload) -> Supervised:
        return Supervised(self._folder(workload), workload.id, workload.name)

    def _prepare(self, workload: Workload, streams: Streams | None = None) -> Launch:
        """Return the launch description, with what it names made ready."""
        self._supervised(workload).check_inactive()
        spec = _spec(workload)
        folder = self._folder(workload)
        prepare_layout(folder, spec, _hostname(workload))
        process = self._process(
            workload,
            spec.command,
            tty=streams.tty if streams else spec.tty,
            size=streams.size if streams else (24, 80),
        )
        return Launch(
            id=workload.id,
            folder=str(folder),
            log=str(folder / _LOG),
            process=process,
            invocation=os.urandom(16).hex(),
            mounts=tuple(plan_layout(folder, spec).mounts),
            stop_signal=parse_signal(spec.stop_signal),
            stop_timeout=spec.stop_timeout,
        )

    def _process(
        self,
        workload: Workload,
        command: Sequence[str],
        *,
        env: Mapping[str, str] = {},
        working_dir: str = "",
        user: str = "",
        tty: bool,
        size: tuple[int, int],
    ) -> Process:
        spec = _spec(workload)
        folder = self._folder(workload)
        identity = find_identity(folder / ROOT, user or spec.user)
        env = {**_environment(workload, identity, tty), **spec.env, **env, MARKER: workload.id}
        init = native.program("init")
        init_env: list[str] = []
        if init is not None:
            env, init_env = split_environment(env, folder / TEMPORARY)
        argv = build_proot_argv(
            folder / ROOT,
            command,
            identity=(identity.uid, identity.gid),
            binds=plan_layout(folder, spec).binds,
            working_dir=working_dir or spec.working_dir or "/",
            tty=tty,
            init=init,
            init_env=init_env,
        )
        return Process.of(argv, env, tty=tty, size=size)


def _spec(workload: Workload) -> ContainerSpec:
    if not isinstance(workload.spec, ContainerSpec):
        raise InvalidSpec(f"Backend 'proot' cannot run '{workload.name}': it is no container")
    return workload.spec


def _hostname(workload: Workload) -> str:
    return _spec(workload).hostname or workload.name


def _environment(workload: Workload, identity: Identity, tty: bool) -> dict[str, str]:
    """What a payload finds unless the spec says otherwise; nothing comes from the caller."""
    terminal = {"TERM": _TERM} if tty else {}
    return {"PATH": DEFAULT_PATH, "HOME": identity.home, "HOSTNAME": _hostname(workload), **terminal}


def _refuse(name: str, spec: ContainerSpec, folder: Path) -> None:
    """Raise for what proot cannot do."""
    if not spec.command:
        raise InvalidSpec(f"Cannot create '{name}': there is no command", hint="Give one: the image has no default.")
    act = f"Cannot create '{name}': backend 'proot' lacks the capability"
    if spec.ports:
        raise CapabilityMissing(
            f"{act} 'ports'",
            hint="Under proot a container shares the host's network and needs no -p.",
        )
    if spec.resources.limited:
        raise CapabilityMissing(f"{act} 'limits'", hint="To limit memory, CPU or tasks choose --backend nspawn.")
    if (spec.read_only or any(mount.read_only for mount in spec.mounts)) and not probe.can_mount():
        raise CapabilityMissing(
            f"Cannot create '{name}': backend 'proot' cannot enforce read-only mounts on this host",
            hint="Allow unprivileged user namespaces, run as root, or choose --backend nspawn.",
        )
    if ":" in str(folder):
        raise InvalidSpec(f"proot cannot run below '{folder}'", hint="Choose a root directory without ':'.")
