"""The life cycle of workloads, the same for every kind and backend.

This is where names are checked, locks are held, trees are pinned, folders come and go, and states
decide what is allowed. Backends do the work in between.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from volt_core.contracts import (
    Attach,
    Backend,
    BackendContext,
    Exec,
    Freeze,
    LogRecord,
    PastLogs,
    Ref,
    Store,
    Streams,
)
from volt_core.errors import (
    AlreadyExists,
    BackendUnavailable,
    Locked,
    PluginError,
    StateError,
    VoltError,
    WorkloadNotFound,
    WrongState,
)
from volt_core.models.outcome import Outcome
from volt_core.models.workload import ContainerSpec, Kind, Spec, Status, VmSpec, Workload, WorkloadStatus
from volt_core.names import USE_PREFIX, check_name
from volt_core.paths import VoltPaths
from volt_core.plugins import Plugins
from volt_core.workloads import index
from volt_core.workloads.cleanup import Cleanup
from volt_core.workloads.folders import LOCK_TIMEOUT, Folders, check_text
from volt_core.workloads.listed import Listed, Survey
from volt_core.workloads.logs import EVERYTHING, Excerpt, keepers_of_logs
from volt_core.workloads.selection import choose_backend, facet_of, require_facets

_T = TypeVar("_T")
_STARTS_WITHIN = 24 * 3600 * 10**9
"""Nanoseconds after which what is to be removed at its end, and has not even started, is removed."""


class Workloads:
    """All workloads of one instance.

    Args:
        paths, plugins: the instance and the installed plugins.
        store: called when the store is first needed; listing never needs it.
        preferred: the container backend that the configuration asks for, or empty.
    """

    def __init__(self, paths: VoltPaths, plugins: Plugins, store: Callable[[], Store], preferred: str = "") -> None:
        self._paths = paths
        self._plugins = plugins
        self._store = store
        self._preferred = preferred
        self._folders = Folders(paths)
        self._cleanup = Cleanup(plugins, store, self._folders, self._instance)

    def choose_backend(self, kind: Kind, name: str = "") -> type[Backend]:
        """Return the backend to use: the named one, the configured one, else the best whose probe succeeds.

        Raises :class:`BackendUnavailable` with every candidate's reason.
        """
        return choose_backend(self._plugins, kind, name or (self._preferred if kind is Kind.CONTAINER else ""))

    def create(
        self,
        name: str,
        spec: Spec,
        *,
        kind: Kind = Kind.CONTAINER,
        backend: str = "",
        labels: Mapping[str, str] | None = None,
        auto_remove: bool = False,
    ) -> Workload:
        """Create a workload; when this raises, nothing of it is left."""
        import uuid  # brings 'platform', for a create alone

        check_name(name)
        chosen = self.choose_backend(kind, backend)
        require_facets(self._plugins, chosen, spec)
        workload = Workload(
            name=name,
            id=uuid.uuid4().hex,
            kind=kind,
            backend=chosen.NAME,
            spec=spec,
            created=time.time_ns(),
            labels=labels or {},
            auto_remove=auto_remove,
        )
        check_text(workload)
        self._paths.prepare()
        self.sweep()
        with self._folders.locked(name):
            existing = self._folders.find(name)
            if existing is not None:
                raise AlreadyExists(
                    f"Cannot create {kind} '{name}': a {existing.kind} of that name exists",
                    hint=f"Choose another name, or delete it: volt delete {name}.",
                )
            self._folders.check_vacant(kind, name)
            instance = self._instance(chosen)
            try:
                self._pin(workload)
                self._folders.make(kind, name)
                self._folders.write_env(workload)
                instance.create(workload)
                self._folders.commit(workload)
            except BaseException:
                # Whatever comes on top of the failure, the failure is what counts.
                with contextlib.suppress(Exception):
                    instance.delete(workload)
                self._cleanup.forget(kind, name)
                raise
        self._update_index()
        self._tell("create", workload)
        return workload

    def renew(self, names: Sequence[str]) -> None:
        """Bring up to date what the starts of these would, so that each finds it done.

        What keeps one from being renewed keeps it from being started, and is told then.
        """
        for name in names:
            with contextlib.suppress(VoltError), self._folders.locked(name, timeout=0):
                workload, backend = self._existing(name)
                backend.renew(workload)

    def start(self, name: str) -> None:
        """Start it, detached. Raises :class:`WrongState` if it is active."""
        with self._folders.locked(name):
            workload, backend = self._startable(name)
            backend.start(workload)
        self._tell("start", workload)

    def run_attached(self, name: str, streams: Streams) -> Outcome:
        """Start it with the caller's streams and wait for the end."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._folders.locked(name))
            workload, backend = self._startable(name)
            attach = self._facet(backend, Attach, "run in the foreground")

            def started() -> None:
                stack.close()
                self._tell("start", workload)

            return attach.run_attached(workload, streams, started)

    def stop(self, name: str, timeout: float | None = None) -> None:
        """Stop it; nothing to stop is success."""
        with self._locked_for_stop(name, timeout) as patience:
            workload, backend = self._existing(name)
            backend.stop(workload, patience)
        self._tell("stop", workload)

    def restart(self, name: str, timeout: float | None = None) -> None:
        """Stop it if it runs, then start it, without letting anybody in between."""
        with self._locked_for_stop(name, timeout) as patience:
            workload, backend = self._existing(name)
            backend.stop(workload, patience)
            backend.start(workload)
        self._tell("stop", workload)
        self._tell("start", workload)

    def kill(self, name: str, signal: int) -> None:
        """Send a signal to its first process. Raises :class:`WrongState` if it is not active."""
        workload, backend = self._existing(name)
        backend.kill(workload, signal)
        self._tell("kill", workload)

    def freeze(self, name: str) -> None:
        """Suspend it."""
        with self._folders.locked(name):
            workload, backend = self._existing(name)
            self._facet(backend, Freeze, "freeze").freeze(workload)

    def thaw(self, name: str) -> None:
        """Resume it."""
        with self._folders.locked(name):
            workload, backend = self._existing(name)
            self._facet(backend, Freeze, "thaw").thaw(workload)

    def delete(self, name: str, *, force: bool = False) -> None:
        """Delete it; one that is active only with `force`.

        Raises :class:`BackendUnavailable`, forced or not, if its backend is not there.
        """
        with self._folders.locked(name):
            try:
                workload, backend = self._existing(name)
            except StateError:
                if not force:
                    raise
                self._cleanup.delete_unreadable(name)
            except (BackendUnavailable, PluginError) as error:
                raise BackendUnavailable(
                    f"Cannot delete '{name}': nobody can tell whether it runs: {error.brief}",
                    details=error.details,
                    hint="Install or enable its backend; or, if nothing of it runs, remove "
                    f"'{self._folders.path(name)}' by hand.",
                ) from error
            else:
                if self._may_be_active(workload, backend, force=force):
                    if not force:
                        raise WrongState(
                            f"Cannot delete {workload.kind} '{name}': it is running",
                            hint=f"Stop it first: volt stop {name}; or use --force.",
                        )
                    backend.stop(workload, 0)
                self._delete(workload, backend)
        self._update_index()

    def _may_be_active(self, workload: Workload, backend: Backend, *, force: bool) -> bool:
        try:
            return backend.status(workload).status.active
        except StateError:
            if not force:
                raise
            return True

    def _delete(self, workload: Workload, backend: Backend) -> None:
        self._folders.check_unmounted(workload.kind, workload.name)
        backend.delete(workload)
        self._cleanup.forget(workload.kind, workload.name)
        self._tell("delete", workload)

    def wait(self, name: str, timeout: float | None = None) -> Outcome:
        """Wait until it is not active; return how it ended."""
        workload, backend = self._existing(name)
        return backend.wait(workload, timeout)

    def exec(
        self,
        name: str,
        command: Sequence[str],
        streams: Streams,
        *,
        env: Mapping[str, str] | None = None,
        working_dir: str = "",
        user: str = "",
    ) -> Outcome:
        """Run a command in it with the caller's streams and wait for its end."""
        workload, backend = self._existing(name)
        runner = self._facet(backend, Exec, "run a command")
        return runner.exec(workload, command, streams, env=env or {}, working_dir=working_dir, user=user)

    def logs(self, name: str, wanted: Excerpt = EVERYTHING, *, follow: bool = False) -> Iterator[LogRecord]:
        """Yield its log, or an excerpt; see :meth:`Backend.logs`."""
        workload, backend = self._existing(name)
        if wanted.invocation:
            self._facet(backend, PastLogs, "tell runs apart")
        return wanted.of(functools.partial(backend.logs, workload), follow=follow)

    def past_logs(self, wanted: Excerpt) -> Iterator[LogRecord]:
        """Yield the log of the run that is wanted, of whichever workload, also of a deleted one; none knows it: empty.

        Raises :class:`CapabilityMissing` if no backend that can be used here keeps such logs.
        """
        for backend in keepers_of_logs(self._plugins):
            keeper = self._facet(self._instance(backend), PastLogs, "tell runs apart")
            found = False
            for record in wanted.of(functools.partial(keeper.past_logs, wanted.invocation)):
                found = True
                yield record
            if found:
                return

    def get(self, name: str) -> Listed:
        """Return one workload and how it is. Raises :class:`WorkloadNotFound`."""
        workload, backend = self._existing(name)
        return Listed(workload=workload, status=backend.status(workload))

    def all(self) -> list[Listed]:
        """Return all workloads, sorted by kind and name; those of a broken backend are listed as failed."""
        return self.survey().listed

    def survey(self) -> Survey:
        """Return all workloads, and an error for each whose state file cannot be read.

        Those that have ended and asked to be removed are: no process of Volt's waits for that moment.
        """
        return self._survey(lambda workload: True)

    def _survey(self, wanted: Callable[[Workload], bool]) -> Survey:
        by_backend: dict[str, list[Workload]] = {}
        damaged = []
        for found in self._folders.read_all():
            if not isinstance(found, Workload):
                damaged.append(found)
            elif wanted(found):
                by_backend.setdefault(found.backend, []).append(found)
        listed = []
        for name, workloads in by_backend.items():
            listed += self._statuses(name, workloads)
        remaining = [item for item in listed if not self._remove_if_due(item)]
        if len(remaining) < len(listed):
            self._update_index()
        remaining.sort(key=lambda item: (item.workload.kind, item.workload.name))
        return Survey(listed=remaining, damaged=damaged)

    def _statuses(self, name: str, workloads: Sequence[Workload]) -> list[Listed]:
        """Ask one backend for all of its workloads, and one by one if that fails: one must not hide the others."""
        try:
            statuses = self._instance(self._plugins.backend(name)).statuses(workloads)
            return [Listed(workload=workload, status=statuses[workload.name]) for workload in workloads]
        except Exception as error:  # the plugin boundary
            if len(workloads) > 1:
                return [listed for workload in workloads for listed in self._statuses(name, [workload])]
            note = str(error) if isinstance(error, VoltError) else f"{name}: {type(error).__name__}: {error}"
            return [Listed(workload=workloads[0], status=WorkloadStatus(status=Status.FAILED, note=note))]

    def _remove_if_due(self, item: Listed) -> bool:
        name = item.workload.name
        if not _is_due(item.workload, item.status.status):
            return False
        with contextlib.suppress(Exception), self._folders.locked(name, timeout=0):
            workload, backend = self._existing(name)
            if workload.id == item.workload.id and _is_due(workload, backend.status(workload).status):
                self._delete(workload, backend)
                return True
        return False

    def sweep(self) -> None:
        """Clear away what interrupted commands left, and ended workloads that asked to be removed."""
        self._cleanup.sweep()
        # Of the others nobody asks here how they are: that would make a create slower with each one that runs.
        self._survey(lambda workload: workload.auto_remove)

    def _pin(self, workload: Workload) -> None:
        if isinstance(workload.spec, ContainerSpec | VmSpec):
            ref = Ref(name=f"{USE_PREFIX}{workload.kind}/{workload.name}", digest=workload.spec.root, kind="use")
            self._store().set_ref(ref)

    def _existing(self, name: str) -> tuple[Workload, Backend]:
        workload = self._folders.find(check_name(name))
        if workload is None:
            raise WorkloadNotFound(f"No workload is named '{name}'", hint="Run 'volt ps --all' to see all names.")
        return workload, self._instance(self._plugins.backend(workload.backend))

    def _startable(self, name: str) -> tuple[Workload, Backend]:
        workload, backend = self._existing(name)
        if backend.status(workload).status.active:
            raise WrongState(
                f"Cannot start {workload.kind} '{name}': it is already running",
                hint=f"Use 'volt restart {name}' to start it anew.",
            )
        return workload, backend

    def _instance(self, backend: type[Backend]) -> Backend:
        return backend(BackendContext(paths=self._paths, open_store=self._store))

    def _facet(self, backend: Backend, facet: type[_T], act: str) -> _T:
        return facet_of(self._plugins, backend, facet, act)

    def _update_index(self) -> None:
        # It decides nothing: a disk that is full by now must not fail what has been done.
        with contextlib.suppress(OSError, Locked):
            index.rebuild(self._paths, self._folders)

    @contextlib.contextmanager
    def _locked_for_stop(self, name: str, timeout: float | None) -> Iterator[float]:
        """Hold the lock and give the stop's timeout; another stop that is under way is waited for."""
        workload, _ = self._existing(name)
        patience = workload.spec.stop_timeout if timeout is None else timeout
        with self._folders.locked(name, timeout=LOCK_TIMEOUT + max(patience, workload.spec.stop_timeout)):
            yield patience

    def _tell(self, event: str, workload: Workload) -> None:
        self._plugins.call("volt_after_event", event=event, workload=workload)


def _is_due(workload: Workload, status: Status) -> bool:
    """Tell whether a workload that asked to be removed has ended, or was long ago created and never started."""
    if status is Status.CREATED:
        # Of a run that was killed before its start. One that is under way looks the same for a moment.
        return workload.auto_remove and time.time_ns() - workload.created > _STARTS_WITHIN
    return workload.auto_remove and not status.active
