"""Conformance of a backend: all kits in one class.

An outside backend needs one class in a test module, with one fixture::

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def backend(self, paths):
            return MyBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))

Cases about a facet that the backend does not inherit are skipped and name it. A kind other than a container also
overrides ``make_spec``, an image without a shell ``payload``. The numbers in the names of the cases are those of
``docs/backend-contract.md``.
"""

from __future__ import annotations

from volt_core.testing.capability_kit import BackendCapabilityKit
from volt_core.testing.concurrency_kit import BackendConcurrencyKit
from volt_core.testing.facet_kit import (
    BackendAttachKit,
    BackendExecKit,
    BackendFreezeKit,
    BackendFrozenExecKit,
    BackendRenameKit,
    BackendSnapshotKit,
    BackendStatsKit,
)
from volt_core.testing.failure_kit import BackendFailureKit, BackendLogsKit
from volt_core.testing.files_kit import BackendFilesKit
from volt_core.testing.hostile_kit import BackendHostileExecKit, BackendHostileImageKit, BackendHostileKit
from volt_core.testing.leftover_kit import BackendLeftoverKit
from volt_core.testing.lifecycle_kit import BackendLifecycleKit
from volt_core.testing.option_kit import (
    BackendBootKit,
    BackendNetworkKit,
    BackendPastLogsKit,
    BackendPrivilegedKit,
    BackendRestartKit,
)
from volt_core.testing.resource_kit import BackendResourceKit

__all__ = [
    "BackendAttachKit",
    "BackendBootKit",
    "BackendCapabilityKit",
    "BackendConcurrencyKit",
    "BackendConformance",
    "BackendExecKit",
    "BackendFailureKit",
    "BackendFilesKit",
    "BackendFreezeKit",
    "BackendFrozenExecKit",
    "BackendHostileExecKit",
    "BackendHostileImageKit",
    "BackendHostileKit",
    "BackendLeftoverKit",
    "BackendLifecycleKit",
    "BackendLogsKit",
    "BackendNetworkKit",
    "BackendPastLogsKit",
    "BackendPrivilegedKit",
    "BackendRenameKit",
    "BackendResourceKit",
    "BackendRestartKit",
    "BackendSnapshotKit",
    "BackendStatsKit",
]


class BackendConformance(
    BackendLifecycleKit,
    BackendFailureKit,
    BackendLogsKit,
    BackendExecKit,
    BackendAttachKit,
    BackendFreezeKit,
    BackendFrozenExecKit,
    BackendStatsKit,
    BackendSnapshotKit,
    BackendRenameKit,
    BackendBootKit,
    BackendRestartKit,
    BackendPrivilegedKit,
    BackendNetworkKit,
    BackendPastLogsKit,
    BackendFilesKit,
    BackendResourceKit,
    BackendHostileKit,
    BackendHostileExecKit,
    BackendHostileImageKit,
    BackendConcurrencyKit,
    BackendLeftoverKit,
    BackendCapabilityKit,
):
    """Everything that a backend promises."""
