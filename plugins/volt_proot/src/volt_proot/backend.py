"""The proot backend: containers as ordinary processes of whoever starts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from volt_core.contracts import Capability, Probe
from volt_core.errors import CapabilityMissing, InvalidSpec
from volt_core.models.workload import Workload
from volt_core.supervisor.backend import PrivateMount, Process, SupervisedBackend, Task, find_init
from volt_proot import probe
from volt_proot.argv import build_proot_argv, split_environment
from volt_proot.binds import TEMPORARY, plan_layout, prepare_layout


class ProotBackend(SupervisedBackend):
    """Runs containers under proot, each with a private copy of its image and a supervisor of its own."""

    NAME: ClassVar[str] = "proot"
    PRIORITY: ClassVar[int] = 10
    INSTEAD: ClassVar[Mapping[Capability, str]] = {
        Capability.PORTS: "Under proot a container shares the host's network and needs no -p.",
        Capability.LIMITS: "To limit memory, CPU or tasks choose --backend nspawn.",
    }

    @classmethod
    def probe(cls) -> Probe:
        return probe.probe()

    def check(self, workload: Workload) -> None:
        super().check(workload)
        spec, folder = self.spec(workload), self.folder(workload)
        if (spec.read_only or any(mount.read_only for mount in spec.mounts)) and not probe.can_mount():
            raise CapabilityMissing(
                f"Cannot create '{workload.name}': backend 'proot' cannot enforce read-only mounts on this host",
                hint="Allow unprivileged user namespaces, run as root, or choose --backend nspawn.",
            )
        if ":" in str(folder):
            raise InvalidSpec(f"proot cannot run below '{folder}'", hint="Choose a root directory without ':'.")

    def prepare(self, workload: Workload) -> Sequence[PrivateMount]:
        folder, spec = self.folder(workload), self.spec(workload)
        prepare_layout(folder, spec, self.hostname(workload))
        return plan_layout(folder, spec).mounts

    def build_process(self, workload: Workload, task: Task) -> Process:
        folder, init = self.folder(workload), find_init()
        env, init_env = dict(task.env), list[str]()
        if init is not None:
            env, init_env = split_environment(env, folder / TEMPORARY)
        argv = build_proot_argv(
            self.root(workload),
            task.command,
            identity=(task.uid, task.gid),
            binds=plan_layout(folder, self.spec(workload)).binds,
            working_dir=task.working_dir,
            tty=task.tty,
            init=init,
            init_env=init_env,
        )
        return task.process(argv, env)
