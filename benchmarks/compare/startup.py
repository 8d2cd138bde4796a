"""What a command costs before it does anything, as multiples of ``python3 -c pass`` of the same interpreter.

Run it as ``python -m benchmarks.compare.startup`` with the interpreter that Volt is installed for. Output goes to
/dev/null, caches are warm; "cold" means that the plugins have to be looked for, as after an installation.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import datasets
from benchmarks.compare.timing import Sample, cpu_ratio, print_table, run_pairs, run_timed, wall_ratio
from volt_core import __version__
from volt_core.paths import VoltPaths

VOLT = Path(sys.executable).with_name("volt")
CONTAINERS = 50
PLUGINS = 30
PS_TARGET = 12.0


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="pairs per figure (default 20)")
    parser.add_argument("--backend", default="proot", help="whose containers are listed (default proot)")
    arguments = parser.parse_args(argv)
    if not VOLT.exists():
        parser.error(f"Volt is not installed beside {sys.executable}: there is no '{VOLT}'")
    print(f"volt {__version__}, Python {platform.python_version()}, {len(os.sched_getaffinity(0))} CPUs, ", end="")
    print(f"{arguments.rounds} rounds; median [range]\n")
    with tempfile.TemporaryDirectory(prefix="volt-bench-") as directory:
        bench = Bench(Path(directory), arguments.backend, arguments.rounds)
        bench.print_multiples()
        print()
        bench.print_cost_of_plugins()


class Bench:
    """Instances with and without containers, each also for a path with more plugins.

    Each pair of path and containers has an instance of its own: the cache of plugins belongs to one path, and two
    that take turns would each find it out of date.
    """

    def __init__(self, directory: Path, backend: str, rounds: int) -> None:
        self._directory = directory
        self._rounds = rounds
        self._path = datasets.make_plugins(directory / "path", PLUGINS)
        for root in map(self._root, (False, False, True, True), (0, CONTAINERS, 0, CONTAINERS)):
            datasets.make_containers(VoltPaths.below(root), CONTAINERS if root.name.endswith("many") else 0, backend)

    def print_multiples(self) -> None:
        """Print each command beside bare Python, with its target."""
        cases: list[tuple[str, Callable[[], Sample], float | None]] = [
            ("`volt --version`", self._volt("--version"), 3.0),
            ("`volt __complete stop ''`", self._volt("__complete", "stop", "", containers=CONTAINERS), None),
            ("`volt --help`", self._volt("--help"), None),
            ("`volt ps`, no container", self._volt("ps"), PS_TARGET),
            (f"`volt ps`, {CONTAINERS} containers", self._volt("ps", containers=CONTAINERS), PS_TARGET),
            (f"`volt ps --all`, {CONTAINERS} containers", self._volt("ps", "--all", containers=CONTAINERS), PS_TARGET),
            (f"`volt ps`, {CONTAINERS} containers, cold", self._cold(self._volt("ps", containers=CONTAINERS)), None),
        ]
        print_table(
            ("command", "ms", "x `python3 -c pass`, wall", "x in CPU seconds", "target"),
            (self._row(label, bare_python, candidate, target) for label, candidate, target in cases),
        )

    def print_cost_of_plugins(self) -> None:
        """Print the same command with and without more plugins beside each other."""
        cases: list[tuple[str, tuple[str, ...], int]] = [
            ("`volt --version`", ("--version",), 0),
            ("`volt --help`", ("--help",), 0),
            ("`volt ps`, no container", ("ps",), 0),
            (f"`volt ps`, {CONTAINERS} containers", ("ps",), CONTAINERS),
        ]
        rows = (
            self._row(
                label,
                self._volt(*words, containers=containers),
                self._volt(*words, containers=containers, more=True),
                4 / 3,
            )
            for label, words, containers in cases
        )
        print_table((f"{PLUGINS} more plugins", "ms", "x without them, wall", "x in CPU seconds", "target"), rows)

    def _row(
        self, label: str, yardstick: Callable[[], Sample], candidate: Callable[[], Sample], target: float | None
    ) -> tuple[str, ...]:
        pairs = run_pairs(yardstick, candidate, self._rounds)
        wall = wall_ratio(pairs)
        verdict = "-" if target is None else f"<= {target:.2f}: {'met' if wall.median <= target else 'MISSED'}"
        fastest = min(sample.wall for _, sample in pairs)
        return label, f"{fastest * 1e3:.0f}", str(wall), str(cpu_ratio(pairs)), verdict

    def _volt(self, *words: str, containers: int = 0, more: bool = False) -> Callable[[], Sample]:
        environment = {"VOLT_ROOT": str(self._root(more, containers))}
        if more:
            environment["PYTHONPATH"] = str(self._path)
        return lambda: run_timed([VOLT, *words], env=environment)

    def _cold(self, command: Callable[[], Sample]) -> Callable[[], Sample]:
        def run() -> Sample:
            for cache in self._directory.glob("*/lib/cache/plugins-*.json"):
                cache.unlink()
            return command()

        return run

    def _root(self, more: bool, containers: int) -> Path:
        return self._directory / f"{'more' if more else 'plain'}-{'many' if containers else 'none'}"


def bare_python() -> Sample:
    """Start the interpreter and end it."""
    return run_timed([sys.executable, "-c", "pass"])


if __name__ == "__main__":
    main()
