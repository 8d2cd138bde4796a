"""Conformance of a backend: what its class inherits from is what it can do; see :mod:`.backend_kit`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from volt_core.contracts import (
    Attach,
    Backend,
    Boot,
    Exec,
    Freeze,
    Limits,
    Network,
    PastLogs,
    Ports,
    Privileged,
    Rename,
    Restart,
    Snapshot,
    Stats,
)
from volt_core.contracts.backend import FACETS
from volt_core.errors import CapabilityMissing, VoltError
from volt_core.models.network import PublishedPort
from volt_core.models.resources import Resources
from volt_core.models.workload import ContainerSpec, RestartPolicy
from volt_core.names import new_name
from volt_core.testing.workbench import BackendKit, Pipes, Workbench

MARKERS: dict[type, dict[str, Any]] = {
    Limits: {"resources": Resources(memory_max=64 << 20)},
    Ports: {"ports": (PublishedPort(host_port=40080, port=80),)},
    Boot: {"boot": True},
    Restart: {"restart": RestartPolicy(policy="on-failure")},
    Privileged: {"privileged": True},
    Network: {"network": "none"},
}
"""What a specification says to ask for a facet that has no method."""


class BackendCapabilityKit(BackendKit):
    """Facets that are inherited work, and what works is inherited."""

    @pytest.mark.parametrize("facet", FACETS.values(), ids=lambda facet: facet.__name__)
    def test_b24_what_a_facet_has_is_not_had_without_it(self, backend: Backend, facet: type) -> None:
        if not isinstance(backend, facet):
            methods = [name for name, _ in inspect.getmembers(facet, inspect.isfunction) if not name.startswith("_")]
            there = [name for name in methods if hasattr(backend, name)]
            assert not there, f"nobody asks for {there} unless the class inherits from {facet.__name__}"

    @pytest.mark.parametrize("facet", [Exec, Attach, Freeze, Stats, Snapshot, Rename, PastLogs])
    def test_b24_a_facet_that_is_inherited_works(self, bench: Workbench, facet: type) -> None:
        if not isinstance(bench.backend, facet):
            pytest.skip(f"'{bench.backend.NAME}' lacks the facet {facet.__name__}")
        for act in self._acts(bench, facet):
            try:
                act()
            except (NotImplementedError, CapabilityMissing) as error:
                pytest.fail(f"'{bench.backend.NAME}' inherits from {facet.__name__}, but: {error!r}")

    @pytest.mark.parametrize("facet", [Boot, Restart, Privileged, Network])
    def test_b24_a_specification_is_taken_by_who_has_the_facet(self, bench: Workbench, facet: type) -> None:
        if not isinstance(bench.backend, facet):
            pytest.skip(f"'{bench.backend.NAME}' lacks the facet {facet.__name__}; the core refuses it")
        self._asks_for(bench, facet)

    def test_b15_b24_limits_are_taken_or_refused(self, bench: Workbench) -> None:
        self._asks_for(bench, Limits)

    def test_b16_b24_ports_are_taken_or_refused(self, bench: Workbench) -> None:
        self._asks_for(bench, Ports)

    def _asks_for(self, bench: Workbench, facet: type) -> None:
        """A specification is never taken and ignored."""
        if not isinstance(self.make_spec(bench.image, self.payload.sleeps()), ContainerSpec):
            pytest.skip("the specification of this kind has no such field")
        if not isinstance(bench.backend, facet):
            with pytest.raises(CapabilityMissing):
                bench.create(self.payload.sleeps(), **MARKERS[facet])
            return
        try:
            bench.create(self.payload.sleeps(), **MARKERS[facet])
        except CapabilityMissing as error:
            pytest.fail(f"'{bench.backend.NAME}' inherits from {facet.__name__}, but: {error!r}")
        except VoltError:
            pass  # for another reason: the image has no init, for one

    def _acts(self, bench: Workbench, facet: type) -> Iterator[Callable[[], object]]:
        """Yield calls of all methods of the facet, each in a state in which it works."""
        backend: Any = bench.backend
        if facet is Exec:
            workload = bench.start(self.payload.sleeps())
            with Pipes() as pipes:
                yield lambda: backend.exec(workload, self.payload.exits(0), pipes.streams)
        elif facet is Attach:
            workload = bench.create(self.payload.exits(0))
            with Pipes() as pipes:
                yield lambda: backend.run_attached(workload, pipes.streams, lambda: None)
        elif facet is Freeze:
            workload = bench.start(self.payload.sleeps())
            yield lambda: backend.freeze(workload)
            yield lambda: backend.thaw(workload)
        elif facet is Stats:
            workload = bench.start(self.payload.sleeps())
            yield lambda: backend.stats(workload)
        elif facet is Snapshot:
            workload = bench.create(self.payload.sleeps())
            yield lambda: backend.snapshot(workload)
        elif facet is Rename:
            workload = bench.create(self.payload.sleeps())
            yield lambda: bench.rename(workload, new_name("kit"))
        elif facet is PastLogs:
            yield lambda: list(backend.past_logs("0" * 32))
