"""Fixtures of the store's tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_cas.store import CasStore
from volt_core.testing.trees import awkward_tree


@pytest.fixture
def store(tmp_path: Path) -> CasStore:
    """An empty store at ``cas``."""
    return CasStore(tmp_path / "cas")


@pytest.fixture(scope="session")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with everything that is hard to keep; shared, so never write to it."""
    path = tmp_path_factory.mktemp("awkward") / "tree"
    awkward_tree(path)
    return path


@pytest.fixture
def held() -> Callable[[Path], dict[str, int]]:
    """Return what a store holds: the files of everything that counts, with their sizes."""

    def look(path: Path) -> dict[str, int]:
        return {
            os.path.relpath(os.path.join(folder, name), path): os.lstat(os.path.join(folder, name)).st_size
            for top in ("objects", "trees", "variants", "refs", "links", "tmp")
            for folder, _, names in os.walk(path / top)
            for name in names
        }

    return look
