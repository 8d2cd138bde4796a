"""Whole commands, from the start of the process to its end. ``compare/startup.py`` has the ratios."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import datasets
from benchmarks.compare.timing import clean_environment
from volt_core import __version__
from volt_core.paths import VoltPaths

ROUNDS = 10
VOLT = (sys.executable, "-m", "volt_core")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance with fifty containers."""
    root = tmp_path_factory.mktemp("instance")
    datasets.make_containers(VoltPaths.below(root), 50, "proot")
    return root


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ((sys.executable, "-c", "pass"), ""),
        ((*VOLT, "--version"), f"volt {__version__}\n"),
        ((*VOLT, "__complete", "stop", "bench-049"), "bench-049\n"),
        ((*VOLT, "--help"), "Usage:"),
        ((*VOLT, "ps", "--all", "--quiet"), "bench-049\n"),
    ],
    ids=["bare-python", "version", "complete", "help", "ps-of-50"],
)
def test_start(benchmark: BenchmarkFixture, instance: Path, argv: tuple[str, ...], expected: str) -> None:
    environment = clean_environment({"VOLT_ROOT": str(instance)})

    def start() -> str:
        return subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout

    assert expected in benchmark.pedantic(start, rounds=ROUNDS, warmup_rounds=1)
