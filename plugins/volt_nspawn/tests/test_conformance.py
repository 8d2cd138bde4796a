"""The contract's kits on real systemd, with a store in memory."""

from __future__ import annotations

import pytest

from volt_core.contracts import BackendContext
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import BackendConformance
from volt_core.testing.fakes import MemoryStore
from volt_nspawn.backend import NspawnBackend

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]


class TestNspawn(BackendConformance):
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> NspawnBackend:
        return NspawnBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))
