"""The contract's kits on real proot, with a store in memory."""

from __future__ import annotations

import pytest

from volt_core.contracts import BackendContext
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import BackendConformance
from volt_core.testing.fakes import MemoryStore
from volt_proot.backend import ProotBackend

pytestmark = [pytest.mark.needs_proot, pytest.mark.needs_busybox]


class TestProot(BackendConformance):
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> ProotBackend:
        return ProotBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))
