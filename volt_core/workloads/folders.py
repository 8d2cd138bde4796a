"""A workload's folder is the truth about it; this module keeps the order in which it comes and goes.

Create:  1. the use ref pins the image's tree   2. the folder, with the mark ``.creating``   3. ``env``
         4. what the backend prepares   5. the mark becomes ``container.json`` (the commit: it exists)
Delete:  1. what the backend holds outside the folder   2. ``container.json`` becomes the mark
         ``.deleted`` (the commit)   3. the folder, the mark last   4. the use ref

A reader knows a workload by its truth file alone, so any prefix of either list is a consistent state.
What an interrupted command leaves is a marked folder, which :meth:`Folders.leftovers` finds. A folder with
neither truth nor mark is somebody else's, or a workload whose truth was moved: it is never removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from volt_core import fs
from volt_core.errors import ConflictError, InvalidSpec, StateCorrupt, StateError
from volt_core.models.workload import ContainerSpec, Kind, ServiceSpec, Workload
from volt_core.names import check_name, shown
from volt_core.paths import VoltPaths
from volt_core.state import StateFile
from volt_core.workloads.envfile import read_env, write_env

_WORKLOADS = StateFile(Workload, hint="Restore it from a backup, or delete the workload with --force.")
LOCK_TIMEOUT = 60.0
"""Seconds that a command waits for another one that works on the same workload."""
_MOUNT_ESCAPE = re.compile(rb"\\([0-7]{3})")
_CREATING = ".creating"
_DELETED = ".deleted"


class Folders:
    """Reads and writes the folders of one instance. Callers hold the workload's lock for any change."""

    def __init__(self, paths: VoltPaths) -> None:
        self._paths = paths

    @contextlib.contextmanager
    def locked(self, name: str, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Hold the workload's lock; its file is removed when no such workload exists afterwards."""
        check_name(name)
        self._paths.prepare()
        path = self._paths.locks / f"workload-{name}"
        with fs.lock(path, timeout=timeout, what=f"workload '{name}'"):
            try:
                yield
            finally:
                if self.kind(name) is None:
                    path.unlink(missing_ok=True)

    def kind(self, name: str) -> Kind | None:
        """Return the kind of the workload of that name, readable or not, or None."""
        return next((kind for kind in Kind if self._paths.truth(kind, name).exists()), None)

    def path(self, name: str) -> Path | None:
        """Return the folder of the workload of that name, readable or not, or None."""
        kind = self.kind(name)
        return self._paths.workload(kind, name) if kind else None

    def find(self, name: str) -> Workload | None:
        """Return the workload of that name, whatever its kind, or None."""
        for kind in Kind:
            workload = self._read(kind, name)
            if workload is not None:
                return self._with_env(workload)
        return None

    def read_all(self) -> Iterator[Workload | StateError]:
        """Yield every workload, sorted by kind and name; a damaged one as the error that says so.

        Environment values are left out: nobody lists them.
        """
        for kind in Kind:
            for name in self._names(kind):
                try:
                    workload = self._read(kind, name)
                except StateError as error:
                    yield error
                    continue
                if workload is not None:
                    yield workload

    def leftovers(self) -> Iterator[tuple[Kind, str]]:
        """Yield what creates and deletes leave that are under way, or were interrupted."""
        for kind in Kind:
            for name in self._names(kind):
                if self._is_leftover(kind, name):
                    yield kind, name

    def strangers(self) -> Iterator[Path]:
        """Yield what lies among the folders and is neither a workload nor what is left of one."""
        for kind in Kind:
            for name in self._names(kind):
                if not self._paths.truth(kind, name).exists() and not self.is_vacant(kind, name):
                    yield self._paths.workload(kind, name)

    def is_vacant(self, kind: Kind, name: str) -> bool:
        """Tell whether nothing is in the place of that folder, or nothing but leftovers."""
        return self._is_leftover(kind, name) or not os.path.lexists(self._paths.workload(kind, name))

    def check_vacant(self, kind: Kind, name: str) -> None:
        """Raise :class:`ConflictError` if something lies in the place of the folder that is not ours to remove."""
        path, truth = self._paths.workload(kind, name), self._paths.truth(kind, name)
        if not self.is_vacant(kind, name):
            raise ConflictError(
                f"Cannot create {kind} '{name}': '{path}' is in its place and has no {truth.name}",
                hint="Move it elsewhere, or put the missing file back.",
            )

    def check_unmounted(self, kind: Kind, name: str) -> None:
        """Raise :class:`ConflictError` if anything is mounted below the folder: it cannot be removed then."""
        folder = f"{self._paths.workload(kind, name).resolve()}/"
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
        points = (_MOUNT_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), line.split()[4]) for line in lines)
        # The last one was mounted on top of the others.
        for point in reversed([os.fsdecode(point) for point in points]):
            if point.startswith(folder):
                raise ConflictError(
                    f"Cannot delete {kind} '{name}': something is mounted at {shown(point)}",
                    hint=f"Unmount it first: umount {shlex.quote(point)}",
                )

    def make(self, kind: Kind, name: str) -> Path:
        """Make an empty, marked folder for a workload to be; what an interrupted create left there is removed."""
        self.remove(kind, name)
        folder = self._paths.workload(kind, name)
        folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        # A root file system brings set-uid programs and directories anybody may write: for its owner alone.
        folder.mkdir(mode=0o700)
        folder.joinpath(_CREATING).touch(mode=0o600)
        return folder

    def write_env(self, workload: Workload) -> None:
        """Write environment values to their own file, readable by the owner alone."""
        write_env(self._paths.workload(workload.kind, workload.name), _env_of(workload))

    def commit(self, workload: Workload) -> None:
        """Write the truth: from now on the workload exists."""
        truth = self._paths.truth(workload.kind, workload.name)
        mark = truth.with_name(_CREATING)
        _WORKLOADS.write(mark, _without_env(workload), mode=0o600)
        os.rename(mark, truth)
        fs.sync_directory(truth.parent)

    def retire(self, kind: Kind, name: str) -> None:
        """Take the truth away: from now on the workload does not exist, whatever is still in the folder."""
        truth = self._paths.truth(kind, name)
        with contextlib.suppress(FileNotFoundError):
            os.rename(truth, truth.with_name(_DELETED))
            fs.sync_directory(truth.parent)

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a marked folder and what is in it; another one stays."""
        if not self._is_leftover(kind, name):
            return
        folder = self._paths.workload(kind, name)
        for entry in os.listdir(folder):
            if entry not in (_CREATING, _DELETED):
                fs.remove_tree(folder / entry)
        fs.remove_tree(folder)

    def _is_leftover(self, kind: Kind, name: str) -> bool:
        """Tell whether a create or delete left it: it is marked, or empty, as before its mark is set."""
        folder = self._paths.workload(kind, name)
        try:
            entries = set(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return self._paths.truth(kind, name).name not in entries and (
            not entries or bool(entries & {_CREATING, _DELETED})
        )

    def _read(self, kind: Kind, name: str) -> Workload | None:
        """Return what the truth file says; None if there is none. Raises :class:`StateError`."""
        path = self._paths.truth(kind, name)
        try:
            workload = _WORKLOADS.find(path)
        except NotADirectoryError:
            return None
        except OSError as error:
            raise StateError(f"Cannot read state file '{path}': {error.strerror}", hint="See what is there.") from error
        if workload is not None and (workload.kind, workload.name) != (kind, name):
            raise StateCorrupt(
                f"State file '{path}' describes another workload, the {workload.kind} '{workload.name}'",
                hint="Folders cannot be copied or renamed by hand; delete it with --force.",
            )
        return workload

    def _names(self, kind: Kind) -> list[str]:
        try:
            return sorted(os.listdir(self._paths.workloads(kind)))
        except FileNotFoundError:
            return []

    def _with_env(self, workload: Workload) -> Workload:
        try:
            return _replace_env(workload, read_env(self._paths.workload(workload.kind, workload.name)))
        except (FileNotFoundError, PermissionError):
            # A reader without rights to secrets still learns everything else.
            return workload


def _env_of(workload: Workload) -> Mapping[str, str]:
    return workload.spec.env if isinstance(workload.spec, ContainerSpec | ServiceSpec) else {}


def _replace_env(workload: Workload, env: Mapping[str, str]) -> Workload:
    if not isinstance(workload.spec, ContainerSpec | ServiceSpec):
        return workload
    return msgspec.structs.replace(workload, spec=msgspec.structs.replace(workload.spec, env=env))


def _without_env(workload: Workload) -> Workload:
    return _replace_env(workload, {})


def check_text(workload: Workload) -> None:
    """Refuse what a state file cannot hold: arguments of a program may be any bytes, JSON is text."""
    try:
        msgspec.json.encode(workload)
    except UnicodeEncodeError as error:
        text = shown(error.object)
        raise InvalidSpec(f"{text} is not valid UTF-8", hint="Put it into a file of the container instead.") from error
