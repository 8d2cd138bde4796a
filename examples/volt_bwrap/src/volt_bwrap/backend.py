"""The backend: what bubblewrap adds to :class:`volt_core.supervisor.backend.SupervisedBackend`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from volt_bwrap import probe
from volt_bwrap.argv import INIT_PATH, SYSTEM, WRITABLE, build_bwrap_argv
from volt_bwrap.rootfs import can_overlay, copy_owner_and_mode, resolve
from volt_core import fs
from volt_core.contracts import Network, Probe
from volt_core.errors import BackendUnavailable, InvalidSpec
from volt_core.models.mount import Mount
from volt_core.models.workload import Workload
from volt_core.supervisor.backend import (
    PrivateMount,
    Process,
    SupervisedBackend,
    Task,
    find_init,
    write_network_files,
)


class BwrapBackend(SupervisedBackend, Network):
    """Runs containers under bwrap, each in namespaces of its own.

    In the workload's folder: ``rootfs`` with a private copy of the image, or empty beside ``upper`` and ``work``,
    the writable parts of an overlay that the supervisor mounts at it.
    """

    NAME: ClassVar[str] = "bwrap"
    PRIORITY: ClassVar[int] = 20

    @classmethod
    def probe(cls) -> Probe:
        return probe.probe()

    def make_root(self, workload: Workload) -> None:
        folder = self.folder(workload)
        places = [folder / name for name in ("rootfs", "upper", "work")]
        for place in places:
            place.mkdir()
        if can_overlay(folder):
            copy_owner_and_mode(self.root(workload), folder / "upper")
            return
        for place in places:
            fs.remove_tree(place)
        super().make_root(workload)

    def root(self, workload: Workload) -> Path:
        return self.running_root(workload) or self._layers(workload)[-1]

    def prepare(self, workload: Workload) -> Sequence[PrivateMount]:
        folder = self.folder(workload)
        for mount in self.spec(workload).mounts:
            if not os.path.exists(mount.source):
                raise InvalidSpec(
                    f"Mount source '{mount.source}' does not exist", hint="Create it, or correct the path."
                )
        if len(layers := self._layers(workload)) == 1:
            return []
        upper, lower = layers
        target, work = folder / "rootfs", folder / "work"
        return [PrivateMount(type="overlay", source=str(lower), target=str(target), upper=str(upper), work=str(work))]

    def build_process(self, workload: Workload, task: Task) -> Process:
        spec, init = self.spec(workload), find_init()
        if init is None:
            raise BackendUnavailable(f"Cannot start '{workload.name}': {probe.probe().reason}", hint=probe.probe().hint)
        argv = build_bwrap_argv(
            self.folder(workload) / "rootfs",
            init,
            hostname=self.hostname(workload),
            user=None if os.geteuid() == 0 else (task.uid, task.gid),
            mounts=self._mounts(workload),
            tmpfs=[resolve(self._layers(workload), path) for path in WRITABLE if spec.read_only],
            read_only=spec.read_only,
            network=spec.network != "none",
        )
        # bwrap sets PWD to where it was itself.
        options = ["--env", f"PWD={task.env['PWD']}" if "PWD" in task.env else "PWD"]
        if os.geteuid() == 0:
            options += ["--user", f"{task.uid}:{task.gid}"]
        return task.under_init(argv, INIT_PATH, options)

    def build_exec(self, workload: Workload, task: Task) -> Process:
        return self.enter(workload, task)

    def _layers(self, workload: Workload) -> list[Path]:
        """Return the directories that make up the root, uppermost first."""
        folder = self.folder(workload)
        if (folder / "upper").exists():
            return [folder / "upper", self.store.linked_tree(self.spec(workload).root)]
        return [folder / "rootfs"]

    def _mounts(self, workload: Workload) -> list[Mount]:
        """Return what is mounted in the container: its network files, then what was asked for."""
        layers = self._layers(workload)
        for path in SYSTEM:
            if resolve(layers, path) != path:
                raise InvalidSpec(f"Cannot start '{workload.name}': '{path}' of its root is a symlink")
        files = write_network_files(self.folder(workload), self.hostname(workload))
        mounts = [Mount(source=str(file), target=path) for path, file in files.items()]
        return [
            Mount(source=mount.source, target=resolve(layers, mount.target), read_only=mount.read_only)
            for mount in (*mounts, *self.spec(workload).mounts)
        ]
