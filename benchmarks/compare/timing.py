"""Timing of whole processes in pairs: the yardstick is run again right beside each candidate.

Other work on the machine comes and goes; a ratio of two neighbours survives that, two averages do not.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """What one run took, in seconds; `cpu` is user and system time of the process and of what it waited for."""

    wall: float
    cpu: float
    peak: int = 0
    """The most memory, in bytes, that one process of it had in RAM at a time."""


Pair = tuple[Sample, Sample]
"""Yardstick and candidate."""


@dataclass(frozen=True)
class Spread:
    """Median and range of what several rounds gave."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of at least one value."""
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}-{self.high:.2f}]"


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without what steers Volt or Python, but for ``VOLT_NATIVE``, and with `extra`.

    With PYTHONDONTWRITEBYTECODE, which build machines like to set, every start would compile Volt anew.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "VOLT_NATIVE" or not name.startswith(("VOLT_", "PYTHON"))
    }
    return {**kept, **(extra or {})}


def run_timed(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Sample:
    """Run a program to its end, its output thrown away. Raises CalledProcessError with what it said on stderr."""
    helper = [sys.executable, "-I", "-S", Path(__file__).with_name("spawn.py"), *argv]
    done = subprocess.run(helper, env=clean_environment(env), cwd=cwd, capture_output=True, text=True, check=False)
    said = {} if done.returncode else json.loads(done.stdout)
    if status := done.returncode or said["status"]:
        raise failure(status, " ".join(map(str, argv)), done.stderr)
    return Sample(wall=said["wall"], cpu=said["cpu"], peak=said["peak"])


def first_line(*argv: str) -> str:
    """Return the first line that a program prints: what it says of its version."""
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].strip()


def failure(status: int, command: str, stderr: str) -> subprocess.CalledProcessError:
    """Return the error for a command that failed; a traceback of it shows what the command said."""
    error = subprocess.CalledProcessError(status, command, stderr=stderr)
    error.add_note(stderr)
    return error


def run_pairs(yardstick: Callable[[], Sample], candidate: Callable[[], Sample], rounds: int) -> list[Pair]:
    """Run A B A B; one more pair before them warms the caches and is not counted."""
    pairs = [(yardstick(), candidate()) for _ in range(rounds + 1)]
    return pairs[1:]


def wall_ratio(pairs: Sequence[Pair]) -> Spread:
    """Return how many times the yardstick's wall time the candidate took."""
    return Spread.of(candidate.wall / yardstick.wall for yardstick, candidate in pairs)


def cpu_ratio(pairs: Sequence[Pair]) -> Spread:
    """Return how many times the yardstick's processor time the candidate took."""
    return Spread.of(candidate.cpu / yardstick.cpu for yardstick, candidate in pairs)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table."""
    for line in table_lines(header, rows):
        print(line, flush=True)


def table_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    for row in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
