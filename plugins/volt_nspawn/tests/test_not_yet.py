"""The plugin is known to Volt and says honestly that it cannot run anything yet."""

from importlib.metadata import entry_points
from typing import Any, cast

import pytest

from volt_core.contracts import BackendContext, Capability, capabilities_of
from volt_core.errors import BackendUnavailable
from volt_core.models.workload import Workload
from volt_nspawn.backend import NspawnBackend

CONTEXT = BackendContext(paths=cast("Any", None), open_store=cast("Any", None))


def test_entry_point_registers_the_backend():
    (entry,) = entry_points(group="volt", name="nspawn")
    assert list(entry.load().volt_register_backends()) == [NspawnBackend]


def test_probe_says_why_and_what_instead():
    probe = NspawnBackend.probe()
    assert not probe.available
    assert "not yet" in probe.reason
    assert probe.hint


def test_facets_are_those_it_is_going_to_have():
    assert capabilities_of(NspawnBackend) == {Capability.FREEZE, Capability.LIMITS, Capability.PORTS}


def test_acts_are_refused_with_the_probes_reason():
    workload = Workload(
        name="web", id="0" * 32, kind=NspawnBackend.KIND, backend="nspawn", spec=cast("Any", None), created=1
    )
    backend = NspawnBackend(CONTEXT)
    acts = (backend.create, backend.start, backend.delete, backend.status, backend.wait, backend.logs, backend.freeze)
    for act in acts:
        with pytest.raises(BackendUnavailable, match="'web' by backend 'nspawn': not yet"):
            act(workload)
