"""The fakes keep the contracts; with that, the kits have been run on a container, a VM, a service and a store."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from volt_core.contracts import Backend, BackendContext, Ref
from volt_core.models.workload import ServiceSpec, Spec, VmSpec
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import (
    BackendAttachKit,
    BackendExecKit,
    BackendFailureKit,
    BackendFreezeKit,
    BackendLifecycleKit,
    BackendLogsKit,
    BackendRenameKit,
    BackendSnapshotKit,
    BackendStatsKit,
)
from volt_core.testing.fakes import DummyContainer, DummyService, DummyVm, MemoryStore
from volt_core.testing.payloads import FakePayload
from volt_core.testing.workbench import IMAGE_REF, BackendKit


def context(paths: VoltPaths) -> BackendContext:
    return BackendContext(paths=paths, store=MemoryStore(paths.store))


class FakeKit(BackendKit):
    payload = FakePayload()

    @pytest.fixture
    def image(self, backend: Backend, tmp_path: Path) -> str:
        tmp_path.joinpath("image").mkdir()
        tmp_path.joinpath("image", "hello").write_text("world")
        return backend.store.put_directory(tmp_path / "image", ref=Ref(name=IMAGE_REF, digest="")).digest


class ContainerKit(FakeKit):
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> Backend:
        return DummyContainer(context(paths))


class TestContainerLifecycle(ContainerKit, BackendLifecycleKit):
    pass


class TestContainerFailure(ContainerKit, BackendFailureKit):
    pass


class TestContainerLogs(ContainerKit, BackendLogsKit):
    pass


class TestContainerExec(ContainerKit, BackendExecKit):
    pass


class TestContainerAttach(ContainerKit, BackendAttachKit):
    pass


class TestContainerFreeze(ContainerKit, BackendFreezeKit):
    pass


class TestContainerStats(ContainerKit, BackendStatsKit):
    pass


class TestContainerSnapshot(ContainerKit, BackendSnapshotKit):
    pass


class TestContainerRename(ContainerKit, BackendRenameKit):
    pass


class GuestPayload(FakePayload):
    tells_signals = False
    parts_streams = False


class VmKit(FakeKit):
    payload = GuestPayload()

    @pytest.fixture
    def backend(self, paths: VoltPaths) -> Backend:
        return DummyVm(context(paths))

    def make_spec(self, image: str, command: Sequence[str], **changes: Any) -> Spec:
        return VmSpec(image=shlex.join(command), root=image, **changes)


class TestVmLifecycle(VmKit, BackendLifecycleKit):
    pass


class TestVmFailure(VmKit, BackendFailureKit):
    pass


class TestVmLogs(VmKit, BackendLogsKit):
    pass


class TestVmFreeze(VmKit, BackendFreezeKit):
    pass


class ServiceKit(FakeKit):
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> Backend:
        return DummyService(context(paths))

    def make_spec(self, image: str, command: Sequence[str], **changes: Any) -> Spec:
        return ServiceSpec(command=tuple(command), **changes)


class TestServiceLifecycle(ServiceKit, BackendLifecycleKit):
    pass


class TestServiceFailure(ServiceKit, BackendFailureKit):
    pass


class TestServiceLogs(ServiceKit, BackendLogsKit):
    pass
