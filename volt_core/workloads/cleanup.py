"""Clearing away what interrupted commands left, and workloads that cannot be used any more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from volt_core.contracts import Backend, Store
from volt_core.errors import BackendError, RefNotFound, StateError, VoltError
from volt_core.models.extension import Check, Verdict
from volt_core.models.workload import ContainerSpec, Kind, Workload
from volt_core.names import USE_PREFIX
from volt_core.paths import VoltPaths
from volt_core.plugins import Plugins
from volt_core.plugins.probing import probe
from volt_core.workloads.folders import Folders


class Cleanup:
    """Removes traces of workloads in the folders and the store of one instance.

    Args:
        plugins, store, folders: those of the instance; `store` is called when it is first needed.
        instance: makes a backend of its class.
    """

    def __init__(
        self,
        plugins: Plugins,
        store: Callable[[], Store],
        folders: Folders,
        instance: Callable[[type[Backend]], Backend],
    ) -> None:
        self._plugins = plugins
        self._store = store
        self._folders = folders
        self._instance = instance

    def sweep(self) -> None:
        """Clear away what interrupted commands left.

        What another command is working on is left alone: its lock is held.
        """
        for kind, name in list(self._folders.leftovers()):
            self._clear(kind, name)
        for ref in list(self._store().refs(USE_PREFIX)):
            kind_name, _, name = ref.name.removeprefix(USE_PREFIX).partition("/")
            # What else uses trees may have its own refs here.
            if kind_name in set(Kind) and name and self._folders.is_vacant(Kind(kind_name), name):
                self._clear(Kind(kind_name), name)

    def forget(self, kind: Kind, name: str) -> None:
        """Remove truth, folder and use ref, in this order; the caller holds the lock."""
        self._folders.retire(kind, name)
        self._folders.remove(kind, name)
        with contextlib.suppress(RefNotFound):
            self._store().delete_ref(f"{USE_PREFIX}{kind}/{name}")

    def delete_unreadable(self, name: str) -> None:
        """Delete a workload whose truth cannot be read; the caller holds the lock.

        Raises :class:`BackendError` if a backend that may run it fails to stop it.
        """
        kind = self._folders.kind(name)
        if kind is None:
            return
        self._folders.check_unmounted(kind, name)
        failures = self._release(kind, name)
        if failures:
            raise BackendError(
                f"Cannot delete {kind} '{name}': it may still run, since it cannot be stopped",
                details="\n".join(failures),
                hint="End what still runs of it, then try again.",
            )
        self.forget(kind, name)

    def _clear(self, kind: Kind, name: str) -> None:
        """Clear away what is left of one; what cannot be removed now stays for the next time."""
        with contextlib.suppress(VoltError, OSError), self._folders.locked(name, timeout=0):
            if self._folders.is_vacant(kind, name):
                # Not started yet, or stopped already: what a backend cannot release keeps nothing running.
                self._release(kind, name)
                self.forget(kind, name)

    def _release(self, kind: Kind, name: str) -> list[str]:
        """Ask every backend of the kind to let go of a workload of which only the name is known; return failures.

        One that does not work on this host has nothing that runs.
        """
        spec = ContainerSpec(image="", root="", command=())
        candidates = [backend for backend in self._plugins.backends().values() if backend.KIND is kind]
        failures = [] if candidates else [f"no backend for a {kind} is installed and enabled"]
        for backend in candidates:
            stand_in = Workload(name=name, id="", kind=kind, backend=backend.NAME, spec=spec, created=0)
            try:
                instance = self._instance(backend)
                instance.stop(stand_in, 0)
                instance.delete(stand_in)
            except Exception as error:  # the plugin boundary
                if probe(backend).available:
                    failures.append(f"{backend.NAME}: {error}")
        return failures


def folder_checks(paths: VoltPaths) -> list[Check]:
    """Name for ``volt doctor`` what lies among the folders and is no workload, and workloads that cannot be read."""
    folders = Folders(paths)
    hint = "Move it elsewhere, or put its state file back."
    return [
        *(
            Check(
                area="state",
                what=f"'{path}' is no workload: nothing of Volt's removes it",
                verdict=Verdict.WARNING,
                hint=hint,
            )
            for path in folders.strangers()
        ),
        *(
            Check(area="state", what=error.brief, verdict=Verdict.MISSING, hint=error.hint or "")
            for error in folders.read_all()
            if isinstance(error, StateError)
        ),
    ]
