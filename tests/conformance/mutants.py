"""Backends, stores, sources and sections that break one promise each, with the kits' cases of that promise.

``test_mutants.py`` runs them; pytest does not collect this file by itself. Each mutant names the promise it breaks;
the class of tests made of it has the cases of that promise alone, so that it must be one of them that fails.
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from volt_core import fs
from volt_core.contracts import (
    SILENT,
    Backend,
    BackendContext,
    CheckoutMode,
    CheckoutResult,
    ContentSource,
    Entry,
    FetchedImage,
    GcReport,
    ImageRequest,
    ImageSource,
    LogRecord,
    MtimePolicy,
    Network,
    Probe,
    Progress,
    PutResult,
    Ref,
    StatsSample,
    Store,
    Streams,
    VerifyReport,
)
from volt_core.errors import (
    AlreadyExists,
    CapabilityMissing,
    ComposeError,
    InvalidName,
    NotFoundError,
    ObjectMissing,
    VoltError,
    WrongState,
)
from volt_core.models.mount import Mount
from volt_core.models.outcome import Outcome
from volt_core.models.workload import Kind, Status, Workload, WorkloadStatus
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import BackendConformance
from volt_core.testing.fake_sources import DIRECTORY, ProgramSection, TarSource
from volt_core.testing.fakes import DummyContainer, FakeBackend, MemoryStore
from volt_core.testing.payloads import FakePayload
from volt_core.testing.programs import Place
from volt_core.testing.runs import Host
from volt_core.testing.samples import tar_of
from volt_core.testing.section_kit import ComposeSectionKit
from volt_core.testing.source_kit import ImageSourceKit
from volt_core.testing.store_kit import StoreConformance
from volt_core.testing.workbench import IMAGE_REF


class ForgetsTheCode(DummyContainer):
    BREAKS = "b7"

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        return msgspec.structs.replace(super().wait(workload, timeout), code=0)


class ForgetsTheSignal(DummyContainer):
    BREAKS = "b7"

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        outcome = super().wait(workload, timeout)
        return msgspec.structs.replace(outcome, code=outcome.exit_status, signal=None)


class TellsOfAnotherRun(DummyContainer):
    """Keeps the first outcome for good."""

    BREAKS = "b7"
    kept: ClassVar[dict[str, Outcome]] = {}

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        return self.kept.setdefault(workload.id, super().wait(workload, timeout))


class LeavesAProcess(DummyContainer):
    """Ends the payload's first process alone."""

    BREAKS = "b3"

    def stop(self, workload: Workload, timeout: float) -> None:
        run = self._find_run(workload)
        if run is not None:
            run._others.clear()
        super().stop(workload, timeout)


class TakesAnySpecification(DummyContainer):
    BREAKS = "b16"

    def create(self, workload: Workload) -> None:
        super().create(msgspec.structs.replace(workload, spec=msgspec.structs.replace(workload.spec, ports=())))


class LogMutant(DummyContainer):
    """Changes what the log tells."""

    def change(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        raise NotImplementedError

    def logs(self, workload: Workload, *, follow: bool = False, **options: Any) -> Iterator[LogRecord]:
        if follow:
            yield from super().logs(workload, follow=True, **options)
        else:
            yield from self.change(list(super().logs(workload, **options)))


class LosesTheLastLine(LogMutant):
    BREAKS = "b8"

    def change(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        return [record for record in records if not record.partial]


class LosesStderr(LogMutant):
    BREAKS = "b8"

    def change(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        return [record for record in records if record.stream == "stdout"]


class MergesStreams(LogMutant):
    BREAKS = "b8"

    def change(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        return [msgspec.structs.replace(record, stream="stdout") for record in records]


class RepeatsLines(LogMutant):
    BREAKS = "b8"

    def change(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        return [*records, *records[-1:]]


class TellsOfTheLastRunAlone(LogMutant):
    BREAKS = "b8"

    def change(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        return [record for record in records if record.invocation == records[-1].invocation]


class DecodesOutput(LogMutant):
    BREAKS = "b8"

    def change(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        return [msgspec.structs.replace(it, data=it.data.decode("utf-8", "replace").encode()) for it in records]


class FollowsForEver(DummyContainer):
    BREAKS = "b8"

    def logs(self, workload: Workload, *, follow: bool = False, **options: Any) -> Iterator[LogRecord]:
        yield from super().logs(workload, follow=follow, **options)
        while follow:
            time.sleep(0.05)


class FollowMissesLines(DummyContainer):
    """Yields what was there, and stops."""

    BREAKS = "b8"

    def logs(self, workload: Workload, *, follow: bool = False, **options: Any) -> Iterator[LogRecord]:
        yield from super().logs(workload, **options)


class SinceIncludesTheMoment(DummyContainer):
    BREAKS = "b8"

    def logs(self, workload: Workload, *, since: int = 0, **options: Any) -> Iterator[LogRecord]:
        yield from super().logs(workload, since=max(0, since - 1), **options)


class UntilExcludesTheMoment(DummyContainer):
    BREAKS = "b8"

    def logs(self, workload: Workload, *, until: int = 0, **options: Any) -> Iterator[LogRecord]:
        yield from super().logs(workload, until=max(0, until - 1), **options)


class StopsOnce(DummyContainer):
    BREAKS = "b3"

    def stop(self, workload: Workload, timeout: float) -> None:
        if timeout and not self.status(workload).status.active:
            raise WrongState("it does not run")
        super().stop(workload, timeout)


class StopSpoilsTheOutcome(DummyContainer):
    """Stopping what has ended makes it a stop's."""

    BREAKS = "b3"

    def stop(self, workload: Workload, timeout: float) -> None:
        run = self._find_run(workload)
        super().stop(workload, timeout)
        if run is not None and run.outcome is not None:
            run.outcome = msgspec.structs.replace(run.outcome, finished=time.time_ns())
            (self._folder(workload) / "outcome.json").unlink(missing_ok=True)


class StopDoesNotInsist(DummyContainer):
    BREAKS = "b3"

    def stop(self, workload: Workload, timeout: float) -> None:
        run = self._find_run(workload)
        if timeout and run is not None and run.main is not None:
            run.main.send(self.stop_signal(workload))
            run.ended.wait(timeout)
        else:
            super().stop(workload, timeout)


class DeletesOnce(DummyContainer):
    BREAKS = "b5"

    def delete(self, workload: Workload) -> None:
        os.stat(self._folder(workload) / "fake")
        super().delete(workload)


class FreezesOnce(DummyContainer):
    BREAKS = "b13"

    def freeze(self, workload: Workload) -> None:
        if self.status(workload).status is Status.FROZEN:
            raise WrongState("it is frozen")
        super().freeze(workload)


class LiesAboutStats(DummyContainer):
    BREAKS = "b24"

    def stats(self, workload: Workload) -> Any:
        raise NotImplementedError


class LiesAboutTheNetwork(DummyContainer, Network):
    BREAKS = "b24"

    def create(self, workload: Workload) -> None:
        if workload.spec.network:  # type: ignore[union-attr]
            raise CapabilityMissing("no such thing")
        super().create(workload)


class HasMoreThanItSays(FakeBackend):
    """Has the methods and not the facet, so that nobody finds them."""

    BREAKS = "b24"
    NAME = "more"
    KIND = Kind.CONTAINER
    command = DummyContainer.command
    freeze = DummyContainer.freeze
    thaw = DummyContainer.thaw


class StartReturnsAtOnce(DummyContainer):
    BREAKS = "b2"

    def start(self, workload: Workload) -> None:
        start = super().start

        def late() -> None:
            with contextlib.suppress(VoltError):
                start(workload)

        threading.Timer(0.1, late).start()


class StartKeepsTheOutcome(DummyContainer):
    """After the second start the first outcome is still told."""

    BREAKS = "b2"
    kept: ClassVar[dict[str, Outcome | None]] = {}

    def start(self, workload: Workload) -> None:
        self.kept[workload.id] = super().status(workload).outcome
        super().start(workload)

    def status(self, workload: Workload) -> WorkloadStatus:
        status = super().status(workload)
        return msgspec.structs.replace(status, outcome=status.outcome or self.kept.get(workload.id))


class StartsTwice(DummyContainer):
    """A second start takes the place of the first."""

    BREAKS = "b2"

    def start(self, workload: Workload) -> None:
        super().stop(workload, 0)
        super().start(workload)


class TrustsItsRecord(DummyContainer):
    """Has it running from its start until somebody stops it or waits for it."""

    BREAKS = "b6"
    running: ClassVar[set[str]] = set()

    def start(self, workload: Workload) -> None:
        super().start(workload)
        self.running.add(workload.id)

    def stop(self, workload: Workload, timeout: float) -> None:
        super().stop(workload, timeout)
        self.running.discard(workload.id)

    def status(self, workload: Workload) -> WorkloadStatus:
        if workload.id in self.running:
            return WorkloadStatus(status=Status.RUNNING, started=1)
        return super().status(workload)


class StatusNeedsTheFolder(DummyContainer):
    BREAKS = "b6"

    def status(self, workload: Workload) -> WorkloadStatus:
        os.stat(self._folder(workload) / "fake")
        return super().status(workload)


class StatusWaitsForAStop(DummyContainer):
    BREAKS = "b6"
    lock: ClassVar[threading.Lock] = threading.Lock()

    def stop(self, workload: Workload, timeout: float) -> None:
        with self.lock:
            super().stop(workload, timeout)

    def status(self, workload: Workload) -> WorkloadStatus:
        with self.lock:
            return super().status(workload)


class WaitReturnsAtOnce(DummyContainer):
    BREAKS = "b7"

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        run = self._find_run(workload)
        if run is not None and run.active:
            return Outcome(code=0, started=run.started, finished=run.started)
        return super().wait(workload, timeout)


class WaitHasNoLimit(DummyContainer):
    BREAKS = "b7"

    def wait(self, workload: Workload, timeout: float | None = None) -> Outcome:
        return super().wait(workload)


class KillWaits(DummyContainer):
    BREAKS = "b4"

    def kill(self, workload: Workload, signal: int) -> None:
        super().kill(workload, signal)
        self.wait(workload)


class KillsAnything(DummyContainer):
    BREAKS = "b4"

    def kill(self, workload: Workload, signal: int) -> None:
        super().kill(workload, signals.SIGKILL)


class LeavesTheOutcomeForTheNext(DummyContainer):
    BREAKS = "b5"

    def delete(self, workload: Workload) -> None:
        """Keeps what runs by the name of the folder."""


class ExecsInTheFrozen(DummyContainer):
    BREAKS = "b11"

    def exec(self, workload: Workload, command: Sequence[str], streams: Streams, **options: Any) -> Outcome:
        run = self._active(workload, "exec in")
        frozen, run.frozen = run.frozen, False
        try:
            return super().exec(workload, command, streams, **options)
        finally:
            run.frozen = frozen


class ExecReplacesTheEnvironment(DummyContainer):
    BREAKS = "b11"

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        command, place = super().command(workload)
        # At the start the first program has it.
        return command, place._replace(env={}) if self._find_run(workload) else place


class ExecIsLogged(DummyContainer):
    BREAKS = "b11"

    def exec(self, workload: Workload, command: Sequence[str], streams: Streams, **options: Any) -> Outcome:
        self._log(workload).write("stdout", b"exec\n")
        return super().exec(workload, command, streams, **options)


class SaysTooLateThatItStarted(DummyContainer):
    BREAKS = "b12"

    def run_attached(self, workload: Workload, streams: Streams, started: Callable[[], None]) -> Outcome:
        try:
            return super().run_attached(workload, streams, lambda: None)
        finally:
            started()


class AttachedIsNotLogged(DummyContainer):
    BREAKS = "b12"

    def logs(self, workload: Workload, **options: Any) -> Iterator[LogRecord]:
        return iter(())


class CountsNothing(DummyContainer):
    """Measures what does not run, too."""

    BREAKS = "b14"

    def stats(self, workload: Workload) -> StatsSample:
        return StatsSample(cpu_ns=1, memory_bytes=0, tasks=1)


class SnapshotsTheFolder(DummyContainer):
    BREAKS = "b17"

    def snapshot(self, workload: Workload) -> str:
        return self.store.put_directory(self._folder(workload)).digest


class RenamesTheRunning(DummyContainer):
    BREAKS = "b18"

    def rename(self, workload: Workload, name: str) -> None:
        Host.move(self._folder(workload), self.paths.workload(workload.kind, name))


class RemembersInTheInstance(DummyContainer):
    BREAKS = "b10"

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context)
        self._mine: set[str] = set()

    def create(self, workload: Workload) -> None:
        super().create(workload)
        self._mine.add(workload.id)

    def status(self, workload: Workload) -> WorkloadStatus:
        if workload.id not in self._mine:
            return WorkloadStatus(status=Status.CREATED)
        return super().status(workload)


class CreatesWithoutTheImage(DummyContainer):
    BREAKS = "b1"

    def create(self, workload: Workload) -> None:
        with contextlib.suppress(ObjectMissing):
            super().create(workload)


class ProbeRaises(DummyContainer):
    BREAKS = "b9"

    @classmethod
    def probe(cls) -> Probe:
        raise FileNotFoundError("no such tool")


class ForgetsPastLogs(DummyContainer):
    BREAKS = "b23"

    def past_logs(self, invocation: str, **options: Any) -> Iterator[LogRecord]:
        for workload, log in Host.logs.items():
            if workload.parent == self.paths.workloads(self.KIND):
                yield from log.read(tail=None, since=0, invocation=invocation)[0]


class SharesTheRoot(DummyContainer):
    BREAKS = "b25"

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        command, place = super().command(workload)
        return command, place._replace(root=self.store.linked_tree(workload.spec.root))  # type: ignore[union-attr]


class StartsFromTheImage(DummyContainer):
    """Each run has the image as it was."""

    BREAKS = "b25"

    def start(self, workload: Workload) -> None:
        root = self._folder(workload) / "rootfs"
        fs.remove_tree(root)
        self.store.checkout(workload.spec.root, root)  # type: ignore[union-attr]
        super().start(workload)


class BindsAreWritable(DummyContainer):
    BREAKS = "b25"

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        command, place = super().command(workload)
        return command, place._replace(mounts=tuple(_writable(mount) for mount in place.mounts))


class ReadsTheWords(DummyContainer):
    """As whatever is written to a unit file without quotes."""

    BREAKS = "b26"

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        command, place = super().command(workload)
        return [word.replace("%%", "%") for word in command], place


class CutsValuesAtNewlines(DummyContainer):
    BREAKS = "b26"

    def command(self, workload: Workload) -> tuple[Sequence[str], Place]:
        command, place = super().command(workload)
        return command, place._replace(env={name: value.split("\n")[0] for name, value in place.env.items()})


class ReadsTheUsers(DummyContainer):
    BREAKS = "b27"

    def start(self, workload: Workload) -> None:
        passwd = self._folder(workload) / "rootfs/etc/passwd"
        if not passwd.is_fifo():
            passwd.read_text()
        super().start(workload)


class OneAtATime(DummyContainer):
    BREAKS = "b28"
    lock: ClassVar[threading.Lock] = threading.Lock()

    def start(self, workload: Workload) -> None:
        with self.lock:
            super().start(workload)

    def stop(self, workload: Workload, timeout: float) -> None:
        with self.lock:
            super().stop(workload, timeout)


class TakesItsTime(DummyContainer):
    """A kill in the middle of a start leaves what no delete can release."""

    BREAKS = "b29"

    def start(self, workload: Workload) -> None:
        half = self._folder(workload) / "half"
        half.touch()
        super().start(workload)
        half.unlink()

    def delete(self, workload: Workload) -> None:
        if (self._folder(workload) / "half").exists():
            raise WrongState("it is being started")
        super().delete(workload)


def _writable(mount: Mount) -> Mount:
    return msgspec.structs.replace(mount, read_only=False)


class TreeMutant(MemoryStore):
    """Changes the entries that it puts."""

    def change(self, entry: Entry) -> Entry:
        raise NotImplementedError

    def _put(self, found: Any, *args: Any) -> PutResult:
        return super()._put([(self.change(entry), data) for entry, data in found], *args)


class LosesAttributes(TreeMutant):
    BREAKS = "s2"

    def change(self, entry: Entry) -> Entry:
        return msgspec.structs.replace(entry, xattrs={})


class LosesModes(TreeMutant):
    BREAKS = "s2"

    def change(self, entry: Entry) -> Entry:
        return msgspec.structs.replace(entry, mode=entry.mode & 0o777)


class RoundsTimes(TreeMutant):
    BREAKS = "s2"

    def change(self, entry: Entry) -> Entry:
        return msgspec.structs.replace(entry, mtime_ns=entry.mtime_ns // 1000 * 1000)


class DigestHasAnOrder(TreeMutant):
    """Tells which file was made first."""

    BREAKS = "s2"

    oldest = b""

    def put_directory(self, source: Path, **options: Any) -> PutResult:
        self.oldest = min(os.scandir(os.fsencode(source / "etc")), key=lambda entry: entry.inode()).name
        return super().put_directory(source, **options)

    def change(self, entry: Entry) -> Entry:
        return entry if entry.path else msgspec.structs.replace(entry, xattrs={"user.oldest": self.oldest})


class CollectsWhatIsNeeded(MemoryStore):
    BREAKS = "s15"

    def gc(self, *, dry_run: bool = False, grace: float = 3600.0, keep_last: int = 0) -> GcReport:
        report = super().gc(dry_run=dry_run, grace=grace, keep_last=keep_last)
        if not dry_run and not grace:
            self._content.objects.pop(next(iter(self._content.objects), ""), None)
        return report


class CollectsWhatIsYoung(MemoryStore):
    BREAKS = "s15"

    def gc(self, *, grace: float = 3600.0, **options: Any) -> GcReport:
        return super().gc(grace=0, **options)


class DryRunsRemove(MemoryStore):
    BREAKS = "s15"

    def gc(self, *, dry_run: bool = False, **options: Any) -> GcReport:
        return msgspec.structs.replace(super().gc(**options), dry_run=dry_run)


class SeesNoDamage(MemoryStore):
    BREAKS = "s14"

    def verify(
        self, *, repair: bool = False, sources: Sequence[ContentSource] = (), progress: Progress = SILENT
    ) -> VerifyReport:
        return msgspec.structs.replace(super().verify(repair=repair, sources=sources), damaged=())


class ChecksOutOverAnything(MemoryStore):
    BREAKS = "s5"

    def checkout(
        self, digest: str, destination: Path, *, mode: CheckoutMode = CheckoutMode.AUTO, progress: Progress = SILENT
    ) -> CheckoutResult:
        with contextlib.suppress(AlreadyExists):
            return super().checkout(digest, destination, mode=mode)
        fs.remove_tree(destination)
        return super().checkout(digest, destination, mode=mode)


class MovesTheRefFirst(MemoryStore):
    BREAKS = "s3"

    def put_tar(self, stream: Any, *, ref: Ref | None = None, **options: Any) -> PutResult:
        if ref is not None and self._content.trees:
            self.set_ref(msgspec.structs.replace(ref, digest=list(self._content.trees)[-1]))
        return super().put_tar(stream, ref=ref, **options)


class PointsNowhere(MemoryStore):
    BREAKS = "s9"

    def set_ref(self, ref: Ref) -> None:
        self._content.trees.setdefault(ref.digest, b"\x90")
        super().set_ref(ref)


class TakesAnyName(MemoryStore):
    BREAKS = "s9"

    def set_ref(self, ref: Ref) -> None:
        try:
            super().set_ref(ref)
        except InvalidName:
            self._content.refs[ref.name] = ref


class ForgetsTheLog(MemoryStore):
    BREAKS = "s13"

    def delete_ref(self, name: str) -> None:
        super().delete_ref(name)
        self._content.logs.pop(name)


class FollowsLinksOutside(MemoryStore):
    BREAKS = "s8"

    def read_file(self, digest: str, path: bytes) -> bytes:
        with contextlib.suppress(NotFoundError):
            return super().read_file(digest, path)
        return (Path("/") / os.fsdecode(path).lstrip("./")).read_bytes()


class BundlesDifferEachTime(MemoryStore):
    BREAKS = "s18"

    def write_bundle(self, stream: Any, refs: Sequence[str], **options: Any) -> Any:
        return super().write_bundle(stream, list(refs)[:1], **options)


class ImageWithoutConfiguration(TarSource):
    BREAKS = "i3"

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        fetched = super().fetch(request, ref, store, progress)
        store.set_ref(msgspec.structs.replace(ref, digest=fetched.result.digest, kind="image"))
        return fetched


class KeepsTimes(TarSource):
    BREAKS = "i3"

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        return super().fetch(msgspec.structs.replace(request, mtime=MtimePolicy.KEEP), ref, store, progress)


class DropsTheRefFirst(TarSource):
    BREAKS = "i4"

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        if store.find_ref(ref.name):
            store.delete_ref(ref.name)
        return super().fetch(request, ref, store, progress)


class OpensAnything(TarSource):
    BREAKS = "i5"

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        Path(os.environ[DIRECTORY], request.reference).stat()
        return super().fetch(request, ref, store, progress)


class LeavesADownload(TarSource):
    BREAKS = "i6"

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        store.path.parent.mkdir(exist_ok=True)
        (store.path.parent / "download").touch()
        return super().fetch(request, ref, store, progress)


class TakesAnyField(ProgramSection):
    BREAKS = "c1"
    MODEL = dict


class ForgetsTheProject(ProgramSection):
    BREAKS = "c2"

    def plan(self, project: str, entries: Mapping[str, Any]) -> Sequence[Workload]:
        return super().plan("volt", entries)


class NewIdsEachTime(ProgramSection):
    BREAKS = "c3"

    def plan(self, project: str, entries: Mapping[str, Any]) -> Sequence[Workload]:
        planned = super().plan(project, entries)
        return [msgspec.structs.replace(workload, id=uuid.uuid4().hex) for workload in planned]


class LetsNamesPass(ProgramSection):
    BREAKS = "c4"

    def plan(self, project: str, entries: Mapping[str, Any]) -> Sequence[Workload]:
        try:
            return super().plan(project, entries)
        except ComposeError as error:
            raise InvalidName(error.brief) from error


class ContainerKit(BackendConformance):
    """The kit for the fakes, with little patience: a mutant may not end at all."""

    PATIENCE = 2.0
    SURVIVES = False
    KNOWS_USERS = False
    payload = FakePayload()
    mutant: ClassVar[type[Backend]] = DummyContainer

    @pytest.fixture
    def backend(self, paths: VoltPaths) -> Backend:
        return self.mutant(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))

    @pytest.fixture
    def image(self, backend: Backend, tmp_path: Path) -> str:
        (tmp_path / "image/home").mkdir(parents=True)
        return backend.store.put_directory(tmp_path / "image", ref=Ref(name=IMAGE_REF, digest="")).digest


class MemoryKit(StoreConformance):
    """The kit for the store in memory."""

    store_class = MemoryStore

    def damage(self, store: MemoryStore, digest: str) -> None:
        store.damage(digest)

    def lose(self, store: MemoryStore, digest: str) -> None:
        store.lose(digest)


class TarKit(ImageSourceKit):
    """The kit for the source of archives."""

    good = "1.0"
    broken = "damaged"
    mutant: ClassVar[type[ImageSource]] = TarSource

    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageSource:
        archive = tar_of(lambda tar: tar.add(__file__, "file"))
        (tmp_path / "tars").mkdir()
        (tmp_path / "tars/1.0.tar").write_bytes(archive)
        (tmp_path / "tars/damaged.tar").write_bytes(archive[:700])
        monkeypatch.setenv(DIRECTORY, str(tmp_path / "tars"))
        return self.mutant()


class ProgramKit(ComposeSectionKit):
    """The kit for the section of programs."""

    section_class = ProgramSection
    entries: ClassVar[Any] = {"web": {"command": ["httpd", "-f"]}, "cron": {"command": ["crond"]}}
    refused: ClassVar[Any] = {"no command": {"command": []}}


def mutants_of(base: type) -> list[type]:
    """Return the mutants of a fake, all of which are in this file."""
    below = [cls for child in base.__subclasses__() for cls in (child, *mutants_of(child))]
    return [cls for cls in below if cls.__module__ == __name__ and hasattr(cls, "BREAKS")]


def cases_of(kit: type, numbers: Collection[str], **attributes: Any) -> type:
    """Return a class with the cases of the kit that are about these promises."""
    others = [name for name in dir(kit) if name.startswith("test_") and not set(name.split("_")) & set(numbers)]
    return type(kit)("Kit", (kit,), {**dict.fromkeys(others), **attributes})


BACKENDS = mutants_of(FakeBackend)
STORES = mutants_of(MemoryStore)
for _mutant in BACKENDS:
    globals()[f"Test{_mutant.__name__}"] = cases_of(ContainerKit, {_mutant.BREAKS}, mutant=_mutant)
for _mutant in STORES:
    globals()[f"Test{_mutant.__name__}"] = cases_of(MemoryKit, {_mutant.BREAKS}, store_class=_mutant)
SOURCES = mutants_of(TarSource)
SECTIONS = mutants_of(ProgramSection)
for _mutant in SOURCES:
    globals()[f"Test{_mutant.__name__}"] = cases_of(TarKit, {_mutant.BREAKS}, mutant=_mutant)
for _mutant in SECTIONS:
    globals()[f"Test{_mutant.__name__}"] = cases_of(ProgramKit, {_mutant.BREAKS}, section_class=_mutant)
TestUnbrokenContainer = cases_of(ContainerKit, {mutant.BREAKS for mutant in BACKENDS})
TestUnbrokenStore = cases_of(MemoryKit, {mutant.BREAKS for mutant in STORES})
TestUnbrokenSource = cases_of(TarKit, {mutant.BREAKS for mutant in SOURCES})
TestUnbrokenSection = cases_of(ProgramKit, {mutant.BREAKS for mutant in SECTIONS})
