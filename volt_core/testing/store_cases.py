"""What the kits of stores stand on: the class under test, how to damage what it keeps, an empty store and a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from volt_core.contracts import Store
from volt_core.testing.gate import Gated, skip_without_facets
from volt_core.testing.samples import make_sample

NOWHERE = "sha256:" + "0" * 64
"""The digest of a tree that no store holds."""


class StoreCases(Gated):
    """Base of the kits. A subclass names the class, and says how to damage and to lose an object."""

    store_class: ClassVar[Any]

    def damage(self, store: Any, digest: str) -> None:
        """Change one byte of an object behind the store's back."""
        pytest.fail("a kit needs a method 'damage' in its subclass", pytrace=False)

    def lose(self, store: Any, digest: str) -> None:
        """Remove an object behind the store's back."""
        pytest.fail("a kit needs a method 'lose' in its subclass", pytrace=False)

    @pytest.fixture(autouse=True)
    def _facets(self, request: pytest.FixtureRequest) -> None:
        skip_without_facets(request, self.store_class, getattr(self.store_class, "NAME", self.store_class.__name__))

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """An empty store."""
        return self.reopen(tmp_path)

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        """A tree with one of each thing that needs no root."""
        return make_sample(tmp_path / "source")

    def reopen(self, tmp_path: Path) -> Store:
        """Return another instance on the same directory, as another process would have it."""
        return cast("Store", self.store_class(tmp_path / "store"))
