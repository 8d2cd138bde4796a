"""Backends whose containers are ordinary processes below Volt's own supervisor.

:class:`SupervisedBackend` has the whole life cycle, exec, foreground runs, logs and stats. A subclass says how one
command is run inside a container, and may say what has to lie ready for that. Whatever program it uses for it, the
payload is started by Volt's ``init`` (:meth:`Task.under_init`), for only that tells how it ended.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from volt_core import native
from volt_core.contracts import (
    Attach,
    Backend,
    Boot,
    Capability,
    CheckoutMode,
    Exec,
    Limits,
    LogRecord,
    Network,
    Ports,
    Privileged,
    Restart,
    Stats,
    StatsSample,
    Streams,
)
from volt_core.contracts.backend import FACETS
from volt_core.errors import BackendUnavailable, CapabilityMissing, InvalidSpec
from volt_core.images.users import find_identity
from volt_core.models.image import DEFAULT_PATH
from volt_core.models.outcome import Outcome
from volt_core.models.signals import parse_signal
from volt_core.models.workload import ContainerSpec, Kind, Workload, WorkloadStatus
from volt_core.processes import MARKER
from volt_core.supervisor.client import Supervised
from volt_core.supervisor.logreader import read_log
from volt_core.supervisor.model import STATUS_FD, Launch, PrivateMount, Process
from volt_core.supervisor.netfiles import write_network_files

__all__ = ["SupervisedBackend", "Task", "Process", "PrivateMount", "find_init", "write_network_files"]

_INSTEAD = "'volt plugin list' shows what the backends can do; choose another with --backend."
_TERM = "xterm"
_LOG = "log"
_ROOT = "rootfs"
_SIZE: Final = (24, 80)
# The dynamic linker would read these for every program between the supervisor and the payload.
_FOR_THE_PAYLOAD_ALONE: Final = ("LD_", "GLIBC_TUNABLES")


def find_init() -> Path | None:
    """Return Volt's ``init``, a static program; None where volt-core was installed without a C compiler."""
    return native.program("init")


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One command to run inside a container: what was asked for, filled in from the specification and the image."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    """All of the payload's environment, and what Volt finds its processes by: leave nothing out."""
    working_dir: str
    uid: int
    gid: int
    tty: bool = False
    size: tuple[int, int] = _SIZE
    """Rows and columns of the terminal."""

    def process(self, argv: Sequence[str], env: Mapping[str, str]) -> Process:
        """Return the process that runs `argv`, whatever that is, with the streams of this task."""
        return Process.of(argv, env, tty=self.tty, size=self.size)

    def under_init(self, argv: Sequence[str], init: str, options: Sequence[str] = ()) -> Process:
        """Return the process that runs `argv` followed by Volt's ``init`` and this command.

        `argv` is what enters the container, `init` the path at which the container sees :func:`find_init`,
        `options` are further ones of ``init`` (``--user UID:GID``).
        """
        withheld = [name for name in self.env if name.startswith(_FOR_THE_PAYLOAD_ALONE)]
        own = ["--status-fd", STATUS_FD, "--pdeathsig", *(["--setsid-tty"] if self.tty else [])]
        for name in withheld:
            own += ["--env", f"{name}={self.env[name]}"]
        return self.process(
            [*argv, init, *own, *options, "--workdir", self.working_dir, "--", *self.command],
            {name: value for name, value in self.env.items() if name not in withheld},
        )


class SupervisedBackend(Backend, Exec, Attach, Stats):
    """Runs each container under a supervisor of its own, which keeps its log and its end, without systemd.

    A subclass has NAME, PRIORITY, :meth:`probe` and :meth:`build_process`; the other hooks have defaults. All are
    called in the process of the command, the supervisor knows only what they return.
    """

    KIND: ClassVar[Kind] = Kind.CONTAINER
    INSTEAD: ClassVar[Mapping[Capability, str]] = {}
    """What to do for want of a capability: a sentence, where there is a better one than the usual."""

    # Hooks

    @abc.abstractmethod
    def build_process(self, workload: Workload, task: Task) -> Process:
        """Return the process that runs `task` as the container's payload. Called after :meth:`prepare`."""

    def build_exec(self, workload: Workload, task: Task) -> Process:
        """Return the process that runs `task` beside the payload of a running container.

        The default is another one like the payload's, for containers that are no more than their files; those with
        namespaces return :meth:`enter`.
        """
        return self.build_process(workload, task)

    def check(self, workload: Workload) -> None:
        """Raise for a specification that cannot be run; called first at create. An override calls this one, too."""
        spec, act = self.spec(workload), f"Cannot create '{workload.name}'"
        if not spec.command:
            raise InvalidSpec(f"{act}: there is no command", hint="Give one: the image has no default.")
        parse_signal(spec.stop_signal)
        asked: dict[type, object] = {
            Ports: spec.ports,
            Limits: spec.resources.limited,
            Boot: spec.boot,
            Privileged: spec.privileged,
            Network: spec.network == "none",
            Restart: spec.restart.policy != "no",
        }
        for capability, facet in FACETS.items():
            if asked.get(facet) and not isinstance(self, facet):
                raise CapabilityMissing(
                    f"{act}: backend '{self.NAME}' lacks the capability '{capability}'",
                    hint=self.INSTEAD.get(capability, _INSTEAD),
                )

    def make_root(self, workload: Workload) -> None:
        """Make the root file system at create: a private copy of the image by default, at :meth:`root`."""
        self.store.checkout(self.spec(workload).root, self.root(workload), mode=CheckoutMode.AUTO)

    def root(self, workload: Workload) -> Path:
        """Return a directory with the image's files, among them those that name its users: what runs, if one can."""
        return self.folder(workload) / _ROOT

    def prepare(self, workload: Workload) -> Sequence[PrivateMount]:
        """Make what else a run needs in the workload's folder, at create and before each start.

        Returns the mounts that the supervisor makes before it starts the payload, seen by nobody else. Raises
        :class:`InvalidSpec` if something that the specification names is missing.
        """
        return ()

    # What hooks may ask

    def folder(self, workload: Workload) -> Path:
        """Return the workload's folder. The core's files lie there too: ``container.json``, ``env`` and their like."""
        return self.paths.workload(workload.kind, workload.name)

    def spec(self, workload: Workload) -> ContainerSpec:
        """Return the specification. Raises :class:`InvalidSpec` if it is no container's."""
        if not isinstance(workload.spec, ContainerSpec):
            raise InvalidSpec(f"Backend '{self.NAME}' cannot run '{workload.name}': it is no container")
        return workload.spec

    def hostname(self, workload: Workload) -> str:
        """Return the name that the container has for itself."""
        return self.spec(workload).hostname or workload.name

    def running_root(self, workload: Workload) -> Path | None:
        """Return the root as the payload sees it, with which it goes; None if it does not run. Not to be trusted."""
        pid = self.status(workload).pid
        return None if pid is None else Path(f"/proc/{pid}/root")

    def enter(self, workload: Workload, task: Task) -> Process:
        """Return the process that runs `task` in the namespaces of the payload and as confined as it began.

        The payload must have been started by ``init`` (:meth:`Task.under_init`). Without root only the user that the
        payload has is known in its user namespace. Raises :class:`WrongState` if it does not run, and
        :class:`BackendUnavailable` where volt-core was installed without a C compiler.
        """
        program = native.program("enter")
        if program is None:
            raise BackendUnavailable(
                f"Cannot exec in '{workload.name}': Volt's helper 'enter' is missing",
                hint="Install a C compiler, then install volt-core again.",
            )
        init = self._supervised(workload).find_init()
        argv = [str(program), "--leader", str(init.pid), "--started", str(init.start), "--status-fd", STATUS_FD]
        argv += ["--own-streams", "--workdir", task.working_dir]
        if task.tty:
            argv.append("--setsid-tty")
        if os.geteuid() == 0:
            argv += ["--user", f"{task.uid}:{task.gid}"]
        else:
            own = find_identity(self.root(workload), self.spec(workload).user)
            if (task.uid, task.gid) != (own.uid, own.gid):
                raise CapabilityMissing(
                    f"Cannot exec in '{workload.name}' as another user: without root a container has one",
                    hint=f"Leave out the user: it is {own.uid}:{own.gid}.",
                )
        return task.process([*argv, "--", *task.command], task.env)

    # The contract

    def create(self, workload: Workload) -> None:
        self.check(workload)
        self.make_root(workload)
        find_identity(self.root(workload), self.spec(workload).user)
        self.prepare(workload)

    def start(self, workload: Workload) -> None:
        self._supervised(workload).start(self._launch(workload))

    def run_attached(self, workload: Workload, streams: Streams, started: Callable[[], None]) -> Outcome:
        try:
            launch = self._launch(workload, streams)
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
        supervised = self._supervised(workload)
        try:
            task = self._task(workload, command, streams, env=env, working_dir=working_dir, user=user)
            process = self.build_exec(workload, task)
        except OSError:
            # The root of a payload goes with it: it may have ended a moment ago.
            supervised.find_init()
            raise
        return supervised.exec(process, streams)

    def stop(self, workload: Workload, timeout: float) -> None:
        self._supervised(workload).stop(parse_signal(self.spec(workload).stop_signal), timeout)

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
        return read_log(self.folder(workload) / _LOG, is_active=is_active, tail=tail, since=since, until=until)

    def stats(self, workload: Workload) -> StatsSample:
        return self._supervised(workload).stats()

    def _supervised(self, workload: Workload) -> Supervised:
        return Supervised(self.folder(workload), workload.id, workload.name)

    def _launch(self, workload: Workload, streams: Streams | None = None) -> Launch:
        """Return the launch description, with what it names made ready."""
        self._supervised(workload).check_inactive()
        spec, folder = self.spec(workload), self.folder(workload)
        mounts = self.prepare(workload)
        task = self._task(workload, spec.command, streams)
        return Launch(
            id=workload.id,
            folder=str(folder),
            log=str(folder / _LOG),
            process=self.build_process(workload, task),
            invocation=os.urandom(16).hex(),
            mounts=tuple(mounts),
            stop_signal=parse_signal(spec.stop_signal),
            stop_timeout=spec.stop_timeout,
        )

    def _task(
        self,
        workload: Workload,
        command: Sequence[str],
        streams: Streams | None,
        *,
        env: Mapping[str, str] = {},
        working_dir: str = "",
        user: str = "",
    ) -> Task:
        spec = self.spec(workload)
        identity = find_identity(self.root(workload), user or spec.user)
        tty = streams.tty if streams else spec.tty
        # What a payload finds unless the spec says otherwise; nothing comes from the caller.
        own = {"PATH": DEFAULT_PATH, "HOME": identity.home, "HOSTNAME": self.hostname(workload)}
        terminal = {"TERM": _TERM} if tty else {}
        return Task(
            command=tuple(command),
            env={**own, **terminal, **spec.env, **env, MARKER: workload.id},
            working_dir=working_dir or spec.working_dir or "/",
            uid=identity.uid,
            gid=identity.gid,
            tty=tty,
            size=streams.size if streams else _SIZE,
        )
