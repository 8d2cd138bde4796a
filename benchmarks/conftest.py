"""Groups and data of the benchmarks.

Everything of one function stands in one group, so that its cases (C beside Python, 0 plugins beside 30) are
compared with each other. Data is made once per run, from seeds, outside what is timed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import datasets
from benchmarks.datasets import Shape, Tree

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the benchmarks by function, but for those that name their group."""
    for item in items:
        if not isinstance(item, pytest.Function) or HERE not in item.path.parents:
            continue
        if item.get_closest_marker("benchmark") is None:
            item.add_marker(pytest.mark.benchmark(group=item.originalname.removeprefix("test_")))


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Tree:
    """Three thousand small files; shared, so never write to it. A tenth where nothing is timed."""
    return _make(tmp_path_factory, datasets.SMALL_FILES, pytestconfig)


@pytest.fixture(scope="session")
def large_files(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Tree:
    """Eight files of 8 MiB; shared, so never write to it. Of 800 KiB where nothing is timed."""
    return _make(tmp_path_factory, datasets.LARGE_FILES, pytestconfig)


def _make(factory: pytest.TempPathFactory, shape: Shape, config: pytest.Config) -> Tree:
    if config.getoption("benchmark_disable") and not config.getoption("benchmark_enable"):
        shape = datasets.tenth(shape)
    return datasets.make_tree(factory.mktemp("trees") / "tree", shape)


@pytest.fixture(params=["small_files", "large_files"], ids=["small", "large"])
def tree(request: pytest.FixtureRequest) -> Tree:
    """Each of the trees in turn."""
    found: Tree = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def many_plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the path, with thirty installed plugins."""
    return datasets.make_plugins(tmp_path_factory.mktemp("plugins") / "path", 30)
