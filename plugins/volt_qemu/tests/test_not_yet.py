"""The plugin is known to Volt and says honestly that it cannot run anything yet."""

from importlib.metadata import entry_points
from typing import Any, cast

import pytest

from volt_core.contracts import BackendContext, capabilities_of
from volt_core.errors import BackendUnavailable
from volt_core.models.workload import Workload
from volt_qemu.backend import QemuBackend

CONTEXT = BackendContext(paths=cast("Any", None), open_store=cast("Any", None))


def test_entry_point_registers_the_backend():
    (entry,) = entry_points(group="volt", name="qemu")
    assert list(entry.load().volt_register_backends()) == [QemuBackend]


def test_probe_says_why_and_what_instead():
    probe = QemuBackend.probe()
    assert not probe.available
    assert "not yet" in probe.reason
    assert probe.hint


def test_claims_no_capability():
    assert capabilities_of(QemuBackend) == frozenset()


def test_acts_are_refused_with_the_probes_reason():
    workload = Workload(
        name="web", id="0" * 32, kind=QemuBackend.KIND, backend="qemu", spec=cast("Any", None), created=1
    )
    backend = QemuBackend(CONTEXT)
    for act in (backend.create, backend.start, backend.delete, backend.status, backend.wait, backend.logs):
        with pytest.raises(BackendUnavailable, match="'web' by backend 'qemu': not yet"):
            act(workload)
