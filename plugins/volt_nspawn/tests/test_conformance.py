"""The contract's kits on real systemd, with a store in memory."""

from __future__ import annotations

import pytest

from volt_core.contracts import BackendContext
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import (
    BackendAttachKit,
    BackendExecKit,
    BackendFailureKit,
    BackendFreezeKit,
    BackendLifecycleKit,
    BackendLogsKit,
    BackendStatsKit,
)
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.option_kit import (
    BackendBootKit,
    BackendNetworkKit,
    BackendPastLogsKit,
    BackendPrivilegedKit,
    BackendRestartKit,
)
from volt_nspawn.backend import NspawnBackend

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]


class _OnSystemd:
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> NspawnBackend:
        return NspawnBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))


class TestLifecycle(_OnSystemd, BackendLifecycleKit):
    pass


class TestFailures(_OnSystemd, BackendFailureKit):
    pass


class TestLogs(_OnSystemd, BackendLogsKit):
    pass


class TestExec(_OnSystemd, BackendExecKit):
    pass


class TestAttach(_OnSystemd, BackendAttachKit):
    pass


class TestFreeze(_OnSystemd, BackendFreezeKit):
    pass


class TestStats(_OnSystemd, BackendStatsKit):
    pass


class TestBoot(_OnSystemd, BackendBootKit):
    pass


class TestRestart(_OnSystemd, BackendRestartKit):
    pass


class TestPrivileged(_OnSystemd, BackendPrivilegedKit):
    pass


class TestNetwork(_OnSystemd, BackendNetworkKit):
    pass


class TestPastLogs(_OnSystemd, BackendPastLogsKit):
    pass
