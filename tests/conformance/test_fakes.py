"""The fakes keep the contracts; with that, the kits have been run on a container, a VM, a service and a store."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from volt_core.contracts import Backend, BackendContext, Limits, Ref
from volt_core.models.workload import Kind, ServiceSpec, Spec, Status, VmSpec, Workload
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import BackendConformance
from volt_core.testing.fakes import DummyContainer, DummyService, DummyVm, MemoryStore
from volt_core.testing.payloads import FakePayload
from volt_core.testing.resource_kit import BackendResourceKit
from volt_core.testing.runs import Host
from volt_core.testing.workbench import IMAGE_REF, BackendKit


def context(paths: VoltPaths) -> BackendContext:
    return BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store))


class FakeKit(BackendKit):
    SURVIVES = False
    KNOWS_USERS = False
    payload = FakePayload()

    @pytest.fixture
    def image(self, backend: Backend, tmp_path: Path) -> str:
        tmp_path.joinpath("image/home").mkdir(parents=True)
        tmp_path.joinpath("image", "hello").write_text("world")
        return backend.store.put_directory(tmp_path / "image", ref=Ref(name=IMAGE_REF, digest="")).digest


class TestContainer(FakeKit, BackendConformance):
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> Backend:
        return DummyContainer(context(paths))


class LimitedContainer(DummyContainer, Limits):
    """The programs of the fakes heed limits; no cgroup is needed."""


class TestLimits(FakeKit, BackendResourceKit):
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> Backend:
        return LimitedContainer(context(paths))

    def why_no_limits(self, controller: str) -> str:
        return ""


class GuestPayload(FakePayload):
    tells_signals = False
    parts_streams = False


class TestVm(FakeKit, BackendConformance):
    payload = GuestPayload()

    @pytest.fixture
    def backend(self, paths: VoltPaths) -> Backend:
        return DummyVm(context(paths))

    def make_spec(self, image: str, command: Sequence[str], **changes: Any) -> Spec:
        return VmSpec(image=shlex.join(command), root=image, **changes)


class TestService(FakeKit, BackendConformance):
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> Backend:
        return DummyService(context(paths))

    def make_spec(self, image: str, command: Sequence[str], **changes: Any) -> Spec:
        return ServiceSpec(command=tuple(command), **changes)


def test_a_run_whose_process_is_gone_is_lost(paths: VoltPaths, tmp_path: Path) -> None:
    service = DummyService(context(paths))
    spec = ServiceSpec(command=("sleep", "1000"))
    workload = Workload(name="web", id="0" * 32, kind=Kind.SERVICE, backend=service.NAME, spec=spec, created=1)
    paths.workload(Kind.SERVICE, "web").mkdir(parents=True)
    service.create(workload)
    service.start(workload)
    service.kill(workload, signal.SIGKILL)
    Host.forget(paths.workload(Kind.SERVICE, "web"))
    status = service.status(workload)
    assert (status.status, status.started > 0) == (Status.FAILED, True)
    assert status.outcome is not None
    assert (status.outcome.result, status.outcome.exit_status) == ("lost", 125)
    assert service.wait(workload, 1) == status.outcome
