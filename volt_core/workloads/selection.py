"""Which backend runs a workload, and whether it can do what is asked of it."""

from __future__ import annotations

from typing import TypeVar

from volt_core.contracts import Backend, Boot, Limits, Network, Ports, Privileged, Restart, capabilities_of
from volt_core.contracts.backend import FACETS
from volt_core.errors import BackendUnavailable, CapabilityMissing
from volt_core.models.workload import ContainerSpec, Kind, Spec
from volt_core.plugins import Plugins
from volt_core.plugins.probing import probe

_T = TypeVar("_T")


def choose_backend(plugins: Plugins, kind: Kind, name: str) -> type[Backend]:
    """Return the named backend, or without a name the best for the kind whose probe succeeds.

    Raises :class:`BackendUnavailable` with every candidate's reason.
    """
    if name:
        candidates = [plugins.backend(name)]
    else:
        known = (backend for backend in plugins.backends().values() if backend.KIND is kind)
        candidates = sorted(known, key=lambda backend: (-backend.PRIORITY, backend.NAME))
    reasons = []
    for backend in candidates:
        found = probe(backend)
        if found.available and backend.KIND is kind:
            return backend
        reason = found.reason or f"it runs a {backend.KIND}, not a {kind}"
        reasons.append(f"{backend.NAME}: {reason}" + (f" ({found.hint})" if found.hint else ""))
    subject = f"Backend '{name}' cannot be used here" if name else f"No backend can run a {kind} here"
    raise BackendUnavailable(subject, details="\n".join(reasons), hint="Run 'volt doctor' to see what is missing.")


def require_facets(plugins: Plugins, backend: type[Backend], spec: Spec) -> None:
    """Raise :class:`CapabilityMissing` if the spec asks for what the backend lacks."""
    if isinstance(spec, ContainerSpec):
        if spec.ports and not issubclass(backend, Ports):
            raise _missing(plugins, backend, Ports, "publish ports")
        if spec.resources.limited and not issubclass(backend, Limits):
            raise _missing(plugins, backend, Limits, "limit resources")
        if spec.boot and not issubclass(backend, Boot):
            raise _missing(plugins, backend, Boot, "run the image's own init")
        if spec.privileged and not issubclass(backend, Privileged):
            raise _missing(plugins, backend, Privileged, "run it privileged")
        if spec.network == "none" and not issubclass(backend, Network):
            raise _missing(plugins, backend, Network, "run it without a network")
        if spec.restart.policy != "no" and not issubclass(backend, Restart):
            raise _missing(plugins, backend, Restart, "start it again when it ends")


def facet_of(plugins: Plugins, backend: Backend, facet: type[_T], act: str) -> _T:
    """Return the backend as the facet, or raise :class:`CapabilityMissing`: it cannot do `act`."""
    if isinstance(backend, facet):
        return backend
    raise _missing(plugins, type(backend), facet, act)


def _missing(plugins: Plugins, backend: type[Backend], facet: type, act: str) -> CapabilityMissing:
    """Return the error that names the facet and the backends of the same kind that have it."""
    capability = next(name for name, known in FACETS.items() if known is facet)
    others = [
        name
        for name, other in plugins.backends().items()
        if other.KIND is backend.KIND and capability in capabilities_of(other)
    ]
    hint = f"Backends that can: {', '.join(others)}." if others else "No installed backend can."
    return CapabilityMissing(f"Cannot {act}: backend '{backend.NAME}' has no '{capability}'", hint=hint)
