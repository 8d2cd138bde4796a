"""The contract's kits on real proot, with a store in memory."""

from __future__ import annotations

import pytest

from volt_core.contracts import BackendContext
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import (
    BackendAttachKit,
    BackendExecKit,
    BackendFailureKit,
    BackendLifecycleKit,
    BackendLogsKit,
    BackendStatsKit,
)
from volt_core.testing.fakes import MemoryStore
from volt_proot.backend import ProotBackend

pytestmark = [pytest.mark.needs_proot, pytest.mark.needs_busybox]


class _OnProot:
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> ProotBackend:
        return ProotBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))


class TestLifecycle(_OnProot, BackendLifecycleKit):
    pass


class TestFailures(_OnProot, BackendFailureKit):
    pass


class TestLogs(_OnProot, BackendLogsKit):
    pass


class TestExec(_OnProot, BackendExecKit):
    pass


class TestAttach(_OnProot, BackendAttachKit):
    pass


class TestStats(_OnProot, BackendStatsKit):
    pass
