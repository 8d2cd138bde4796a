"""What the backend kits stand on: workloads that are cleared away, and the caller's side of streams."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import msgspec
import pytest

from volt_core import fs
from volt_core.contracts import Backend, BackendContext, Ref, Rename, Streams
from volt_core.errors import CapabilityMissing, InvalidSpec
from volt_core.models.mount import Mount
from volt_core.models.workload import ContainerSpec, Spec, Workload
from volt_core.names import new_name
from volt_core.testing.gate import Gated, skip_without_facets
from volt_core.testing.payloads import ShellPayload
from volt_core.workloads.envfile import write_env

T = TypeVar("T")
GRACE = 10.0
"""Seconds that a payload which ends when asked is given to do so."""
SHORT = 0.3
"""Seconds in which something that should not happen would have."""
IMAGE_REF = "images/kit:latest"


class Workbench:
    """Does for the kits what the core does around a backend: folders, fresh instances, clearing away."""

    def __init__(self, backend: Backend, make_spec: Callable[..., Spec], image: str, patience: float) -> None:
        self.backend = backend
        self.image = image
        self.patience = patience
        self._make_spec = make_spec
        self._made: list[Workload] = []

    def plan(self, command: Sequence[str], *, name: str = "", **changes: Any) -> Workload:
        """Return a workload of which nothing exists yet but its folder."""
        workload = Workload(
            name=name or new_name("kit"),
            id=uuid.uuid4().hex,
            kind=self.backend.KIND,
            backend=self.backend.NAME,
            spec=self._make_spec(self.image, command, **changes),
            created=time.time_ns(),
        )
        self._made.append(workload)
        self.folder(workload).mkdir(parents=True, exist_ok=True)
        return workload

    def create(self, command: Sequence[str], *, name: str = "", **changes: Any) -> Workload:
        """Return a workload that is ready to be started."""
        workload = self.plan(command, name=name, **changes)
        if env := getattr(workload.spec, "env", {}):
            write_env(self.folder(workload), env)
        self.backend.create(workload)
        return workload

    def bind(self, command: Sequence[str], source: Path, target: str, *, read_only: bool = False) -> Workload:
        """Return a workload that sees a directory of the host; skips where the backend refuses to bind it."""
        workload = self.find_bound(command, source, target, read_only=read_only)
        if workload is None:
            pytest.skip(f"'{self.backend.NAME}' refuses {'read-only ' if read_only else ''}binds")
        return workload

    def find_bound(
        self, command: Sequence[str], source: Path, target: str, *, read_only: bool = False
    ) -> Workload | None:
        """Return the same, or None where the backend refuses to bind it, as it may."""
        mounts = (Mount(source=str(source), target=target, read_only=read_only),)
        try:
            return self.create(command, mounts=mounts)
        except (CapabilityMissing, InvalidSpec):
            return None

    def start(self, command: Sequence[str], **changes: Any) -> Workload:
        """Return a workload that was started."""
        workload = self.create(command, **changes)
        self.backend.start(workload)
        return workload

    def delete(self, workload: Workload) -> None:
        """End it, let the backend release it, remove its folder."""
        self.backend.stop(workload, 0)
        self.backend.delete(workload)
        fs.remove_tree(self.folder(workload))

    def rename(self, workload: Workload, name: str) -> Workload:
        """Give an inactive workload another name, as the core does."""
        assert isinstance(self.backend, Rename)
        self.backend.rename(workload, name)
        renamed = msgspec.structs.replace(workload, name=name)
        self.folder(workload).rename(self.folder(renamed))
        self._made.append(renamed)
        return renamed

    def folder(self, workload: Workload) -> Path:
        """The workload's folder."""
        return self.backend.paths.workload(workload.kind, workload.name)

    def fresh(self) -> Backend:
        """Return another instance of the backend, as the next command would make it."""
        return type(self.backend)(BackendContext(paths=self.backend.paths, open_store=lambda: self.backend.store))

    def lines(self, workload: Workload, **options: Any) -> list[bytes]:
        """Return the lines of its log."""
        return [record.data for record in self.backend.logs(workload, **options)]

    def wait_for(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds."""
        deadline = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {self.patience:g} s"
            time.sleep(0.01)

    def in_time(self, what: str, function: Callable[[], T]) -> T:
        """Return what it returns; fails if that takes too long, and leaves it to its thread then."""
        future = _in_thread(function)
        try:
            return future.result(self.patience)
        except TimeoutError:
            if future.done():
                raise
            pytest.fail(f"{what} does not return within {self.patience:g} s")

    def clear(self) -> None:
        """Remove whatever is left."""
        with contextlib.ExitStack() as stack:
            for workload in self._made:
                stack.callback(self.delete, workload)


class Pipes:
    """The caller of a foreground run: feeds stdin, gathers what comes out.

    Args:
        stdin: what the payload reads before the end of its input; with None its input does not end.
        reads: whether somebody reads stdout; without, it is a pipe whose reader has gone.
    """

    def __init__(self, stdin: bytes | None = b"", *, reads: bool = True) -> None:
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        events_read, self._events = os.pipe()
        self.streams = Streams(stdin=in_read, stdout=out_write, stderr=err_write, events=events_read)
        self._handed_out = [in_read, out_write, err_write, events_read]
        self._kept = [out_read, err_read, self._events]
        self._heard = threading.Event()
        self._moving: list[Future[Any]] = []
        if reads:
            self._output = _in_thread(lambda: _read_all(out_read, self._heard))
            self._moving.append(self._output)
        else:
            self._kept.remove(out_read)
            os.close(out_read)
        self._error = _in_thread(lambda: _read_all(err_read, threading.Event()))
        self._moving.append(self._error)
        if stdin is None:
            self._kept.append(in_write)
        else:
            self._moving.append(_in_thread(lambda: _write_all(in_write, stdin)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._close(self._handed_out)
        if error is None:
            for moving in self._moving:
                moving.result(60)
            self._close(self._kept)
        # Else what has failed may run on with our streams, and our threads with it.

    def send(self, number: int) -> None:
        """Tell the backend of a signal, as :func:`signal.set_wakeup_fd` would."""
        os.write(self._events, bytes([number]))

    def wait_for_output(self, timeout: float) -> None:
        """Wait until something came out of stdout."""
        assert self._heard.wait(timeout), f"no output within {timeout:g} s"

    def output(self) -> bytes:
        """Return what came out of stdout; what used the streams has returned."""
        self._close(self._handed_out)
        return self._output.result(60)

    def error(self) -> bytes:
        """Return what came out of stderr; what used the streams has returned."""
        self._close(self._handed_out)
        return self._error.result(60)

    @staticmethod
    def _close(descriptors: list[int]) -> None:
        while descriptors:
            os.close(descriptors.pop())


class BackendKit(Gated):
    """Base of the kits. A subclass gives the fixture `backend`, and where it differs, the rest."""

    PATIENCE: ClassVar[float] = 20.0
    """Seconds that something may take which should take none."""
    SURVIVES: ClassVar[bool] = True
    """Whether a run goes on when the process that started it is killed, as B-2 has it; the fakes' runs are threads."""
    KNOWS_USERS: ClassVar[bool] = True
    """Whether ``spec.user`` means anything; the fakes' programs have no user."""
    payload: ClassVar[ShellPayload] = ShellPayload()

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test, with paths and a store of its own."""
        pytest.fail("a kit needs a fixture 'backend' in its subclass", pytrace=False)

    @pytest.fixture(autouse=True)
    def _facets(self, request: pytest.FixtureRequest, backend: Backend) -> None:
        skip_without_facets(request, type(backend), backend.NAME)

    @pytest.fixture
    def image(self, backend: Backend, busybox_root: Path) -> str:
        """Digest of a tree in the backend's store that the payload's commands run in."""
        return backend.store.put_directory(busybox_root, ref=Ref(name=IMAGE_REF, digest="")).digest

    @pytest.fixture
    def bench(self, backend: Backend, image: str) -> Iterator[Workbench]:
        """Makes workloads and clears them away."""
        bench = Workbench(backend, self.make_spec, image, self.PATIENCE)
        yield bench
        bench.clear()

    def make_spec(self, image: str, command: Sequence[str], **changes: Any) -> Spec:
        """Return a specification that runs `command`; `changes` are fields of it, as the kits for its kind use them."""
        return msgspec.structs.replace(ContainerSpec(image="kit", root=image, command=tuple(command)), **changes)


@contextlib.contextmanager
def background(function: Callable[[], T], limit: float = 60.0) -> Iterator[Future[T]]:
    """Run `function` in a thread beside the block; its future gives the result, and its error is not lost."""
    future = _in_thread(function)
    yield future
    future.result(limit)


def _in_thread(function: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def target() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=target, daemon=True).start()
    return future


def _read_all(descriptor: int, heard: threading.Event) -> bytes:
    chunks = []
    while chunk := os.read(descriptor, 65536):
        heard.set()
        chunks.append(chunk)
    return b"".join(chunks)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(BrokenPipeError):
        while view:
            view = view[os.write(descriptor, view) :]
    os.close(descriptor)
