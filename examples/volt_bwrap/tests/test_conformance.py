"""All that the contract promises, on real bubblewrap with a store in memory."""

from __future__ import annotations

import pytest

from volt_bwrap.backend import BwrapBackend
from volt_core.contracts import BackendContext
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import BackendConformance
from volt_core.testing.fakes import MemoryStore

pytestmark = [pytest.mark.needs_bwrap, pytest.mark.needs_busybox, pytest.mark.needs_native]


class TestBwrap(BackendConformance):
    @pytest.fixture
    def backend(self, paths: VoltPaths) -> BwrapBackend:
        return BwrapBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))
