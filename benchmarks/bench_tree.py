"""Walking and hashing a tree: the C calls beside their Python twins."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import datasets
from benchmarks.datasets import Tree
from volt_core.native.extension import CImplementation
from volt_core.native.twin import PythonImplementation
from volt_core.testing import host

Implementation = CImplementation | PythonImplementation
# What a caller gives at once, so that a signal need not wait long.
BATCH = 512


@pytest.fixture(params=["c", "python"])
def implementation(request: pytest.FixtureRequest) -> Implementation:
    """Each of the two in turn."""
    if request.param == "python":
        return PythonImplementation()
    host.require("native")
    return CImplementation()


@pytest.fixture
def root_fd(tree: Tree) -> Iterator[int]:
    """The tree's root, open."""
    descriptor = os.open(tree.path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_walk(benchmark: BenchmarkFixture, implementation: Implementation, small_files: Tree) -> None:
    def walk() -> int:
        descriptor = os.open(small_files.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sum(1 for _ in implementation.walk(descriptor))
        finally:
            os.close(descriptor)

    assert benchmark(walk) == small_files.entries + 1


@pytest.mark.benchmark(group="walk")
def test_walk_by_os_fwalk(benchmark: BenchmarkFixture, small_files: Tree) -> None:
    """The yardstick: what a Python program without Volt would do."""

    def walk() -> int:
        found = 1
        for _, directories, names, descriptor in os.fwalk(small_files.path):
            for name in (*directories, *names):
                os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                found += 1
        return found

    assert benchmark(walk) == small_files.entries + 1


@pytest.mark.parametrize("threads", [1, len(os.sched_getaffinity(0))], ids=["one", "all"])
def test_hash(
    benchmark: BenchmarkFixture, implementation: Implementation, tree: Tree, root_fd: int, threads: int
) -> None:
    batches = list(datasets.batches(tree, BATCH))

    def hash_all() -> list[bytes | OSError]:
        return [digest for paths in batches for digest in implementation.hash_files(root_fd, paths, threads=threads)]

    found = benchmark(hash_all)
    benchmark.extra_info["bytes"] = tree.bytes
    assert found == list(tree.digests.values())
