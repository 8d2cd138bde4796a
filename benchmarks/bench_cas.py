"""The store: put, import, checkout, verify, gc, on a tree of small files and on one of large ones, in C and in Python.

Each round has a store of its own where the state of the store matters. Figures to publish come from
``compare/store.py``, which has a fresh file system and a yardstick beside each.
"""

from __future__ import annotations

import functools
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import corpora, datasets
from benchmarks.compare.operations import RACY_SECONDS
from benchmarks.datasets import Tree
from volt_core import fs, native
from volt_core.contracts import CheckoutMode, PutResult, Store
from volt_core.plugins import Plugins
from volt_core.testing import host

ROUNDS = 5
Call = tuple[tuple[Any, ...], dict[str, Any]]


class Bench:
    """Gives out stores at new paths below one directory, and directories to check out to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._class = Plugins(directory / "cache").store("cas")
        self._count = 0

    def fresh(self) -> Path:
        """Return a path where nothing is; what the last one got is removed, so that space stays bounded."""
        fs.remove_tree(self._directory / str(self._count))
        self._count += 1
        return self._directory / str(self._count)

    def store(self, path: Path | None = None) -> Store:
        """Return a new, empty store."""
        return self._class(path or self.fresh())


@pytest.fixture(params=["c", "python"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let each of the two serve in turn, as ``VOLT_NATIVE`` does for a process."""
    chosen: str = request.param
    if chosen == "c":
        host.require("native")
    monkeypatch.setenv("VOLT_NATIVE", chosen)
    monkeypatch.setattr(native, "_chosen", functools.cache(native._chosen.__wrapped__))
    assert native.implementation() == chosen
    return chosen


@pytest.fixture
def bench(tmp_path: Path, implementation: str) -> Bench:
    """See :class:`Bench`."""
    return Bench(tmp_path)


@pytest.fixture
def filled(bench: Bench, tree: Tree, tmp_path: Path) -> tuple[Store, str]:
    """A store that holds the tree, and its digest."""
    store = bench.store(tmp_path / "filled")
    return store, store.put_directory(tree.path).digest


def test_put_cold(benchmark: BenchmarkFixture, bench: Bench, tree: Tree) -> None:
    """Into an empty store."""

    def put(store: Store) -> PutResult:
        return store.put_directory(tree.path)

    def setup() -> Call:
        return (bench.store(),), {}

    result = benchmark.pedantic(put, setup=setup, rounds=ROUNDS)
    assert result.new_objects == tree.contents


def test_put_again(benchmark: BenchmarkFixture, filled: tuple[Store, str], tree: Tree) -> None:
    """A tree that has not changed since it was put, and for long enough that its times can be believed."""
    store, digest = filled
    if not benchmark.disabled:
        time.sleep(RACY_SECONDS)
        store.put_directory(tree.path)
    result = benchmark(store.put_directory, tree.path)
    assert (result.digest, result.new_objects) == (digest, 0)


def test_put_tar(benchmark: BenchmarkFixture, bench: Bench, tree: Tree, tmp_path: Path) -> None:
    """From a tar, into an empty store."""
    archive = datasets.make_tar(tree, tmp_path / "tree.tar")

    def put(store: Store) -> PutResult:
        with archive.open("rb") as stream:
            return store.put_tar(stream)

    def setup() -> Call:
        return (bench.store(),), {}

    result = benchmark.pedantic(put, setup=setup, rounds=ROUNDS)
    assert result.new_objects == tree.contents


@pytest.mark.parametrize("mode", [CheckoutMode.COPY, CheckoutMode.LINK])
def test_checkout(
    benchmark: BenchmarkFixture, bench: Bench, filled: tuple[Store, str], tree: Tree, mode: CheckoutMode
) -> None:
    """Out of a warm store; links are made a second time and later, so no variant is made any more."""
    store, digest = filled
    store.checkout(digest, bench.fresh(), mode=mode)

    def setup() -> Call:
        return (digest, bench.fresh()), {"mode": mode}

    result = benchmark.pedantic(store.checkout, setup=setup, rounds=ROUNDS)
    assert result.files >= len(tree.digests)


def test_verify(benchmark: BenchmarkFixture, filled: tuple[Store, str], tree: Tree) -> None:
    store, _ = filled
    report = benchmark.pedantic(store.verify, rounds=ROUNDS, warmup_rounds=1)
    assert (report.objects, report.damaged) == (tree.contents, ())


def test_put_changed(benchmark: BenchmarkFixture, bench: Bench, small_files: Tree, tmp_path: Path) -> None:
    """A tree of which every hundredth file was replaced since the last round."""
    store, source = bench.store(tmp_path / "filled"), tmp_path / "source"
    shutil.copytree(small_files.path, source, symlinks=True)
    store.put_directory(source)
    changed: list[int] = []

    def setup() -> Call:
        changed.append(corpora.change_files(source, seed=len(changed)))
        if not benchmark.disabled:
            time.sleep(RACY_SECONDS)
        return (source,), {}

    result = benchmark.pedantic(store.put_directory, setup=setup, rounds=ROUNDS)
    assert result.new_objects == changed[-1] > 0


def test_gc_of_everything(benchmark: BenchmarkFixture, bench: Bench, tree: Tree) -> None:
    """No ref was ever set, so all of it goes."""

    def setup() -> Call:
        store = bench.store()
        store.put_directory(tree.path)
        return (store,), {}

    report = benchmark.pedantic(lambda store: store.gc(grace=0), setup=setup, rounds=ROUNDS)
    assert report.objects == tree.contents
