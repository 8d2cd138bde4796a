"""Which cases of a kit are for what is tested: those about facets that it inherits, found by type."""

from __future__ import annotations

from typing import ClassVar

import pytest


class Gated:
    """Base of kits whose cases may be about facets: ``class MyKit(BackendKit, facets=(Exec,))``."""

    FACETS: ClassVar[tuple[type, ...]] = ()
    """What the tested class must inherit from for the cases that this very class defines."""

    def __init_subclass__(cls, *, facets: tuple[type, ...] = ()) -> None:
        super().__init_subclass__()
        cls.FACETS = facets


def facets_for(kit: type, case: str) -> tuple[type, ...]:
    """Return what the class needs that first had the case: one kit among the many that `kit` combines."""
    owner = [base for base in kit.__mro__ if case in vars(base)][-1]
    return owner.FACETS if issubclass(owner, Gated) else ()


def skip_without_facets(request: pytest.FixtureRequest, tested: type, name: str) -> None:
    """Skip the case unless `tested` inherits all facets that it is about."""
    needed = facets_for(request.cls, request.function.__name__)
    lacking = [facet.__name__ for facet in needed if not issubclass(tested, facet)]
    if lacking:
        pytest.skip(f"'{name}' lacks the facet {' and '.join(lacking)}")
