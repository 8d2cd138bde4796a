"""How the store's cost grows: 10 thousand, 100 thousand and, if asked for, a million small files.

Run it as ``python -m benchmarks.compare.scaling``, as root: each count gets a fresh file system image. Given are
files per second and peak memory of whole processes. Two questions more are answered with the smallest tree that is
asked for: what 1 % of change costs, and what the same tree with new times does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import corpora
from benchmarks.compare import filesystem, growth, plots, results
from benchmarks.compare.candidates import Volt
from benchmarks.compare.operations import RACY_SECONDS
from benchmarks.compare.targets import MIB, memory_must
from benchmarks.compare.timing import Sample, Spread, run_timed, table_lines

COUNTS = (10_000, 100_000)
MILLION = 1_000_000
LABELS = {
    "build": "build, empty store",
    "again": "build again, unchanged",
    "checkout": "checkout --link",
    "verify": "verify",
    "gc": "gc of everything",
}


@dataclass
class Scaling:
    """What was found: by operation and number of files, a sample of each round."""

    facts: dict[str, str]
    samples: dict[str, dict[int, list[Sample]]] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)
    """Further answers, by their headings."""

    def add(self, operation: str, files: int, sample: Sample) -> None:
        """Keep one more sample."""
        self.samples.setdefault(operation, {}).setdefault(files, []).append(sample)

    def rates(self) -> dict[str, dict[int, float]]:
        """Return files per second: the median of the rounds."""
        return self._by(lambda files, found: files / Spread.of(it.wall for it in found).median)

    def peaks(self) -> dict[str, dict[int, float]]:
        """Return the most memory, in MiB."""
        return self._by(lambda files, found: max(it.peak for it in found) / MIB)

    def _by(self, figure: Callable[[int, list[Sample]], float]) -> dict[str, dict[int, float]]:
        return {
            LABELS[operation]: {files: figure(files, found) for files, found in by_count.items()}
            for operation, by_count in self.samples.items()
        }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=_counts, default=COUNTS, help="numbers of files (default 10000,100000)")
    parser.add_argument("--million", action="store_true", help="also a million: 25 GB of disk, some ten minutes")
    parser.add_argument("--rounds", type=int, default=1, help="fresh file systems for each count (default 1)")
    parser.add_argument("--store", default="cas", metavar="NAME", help="a store of Volt by its name")
    parser.add_argument("--fs", choices=filesystem.KINDS, help="default: ext4 for root, else directory")
    parser.add_argument("--directory", type=Path, help="where the images or directories are made")
    parser.add_argument("--output", type=Path, metavar="DIR", help="for scaling.md, scaling.json and two plots")
    arguments = parser.parse_args(argv)
    kind = arguments.fs or filesystem.default_kind()
    counts = (*arguments.counts, *([MILLION] if arguments.million else []))
    found = Scaling(results.machine_facts(filesystem.where(kind)))
    found.facts["rounds"] = str(arguments.rounds)
    for files in counts:
        for number in range(arguments.rounds):
            with filesystem.fresh(kind, megabytes(files), below=arguments.directory) as directory:
                measure(found, directory, files, Volt(directory / "store", arguments.store), seed=number + 1)
    with filesystem.fresh(kind, megabytes(counts[0]), below=arguments.directory) as directory:
        found.tables |= growth.answers(directory, counts[0], Volt(directory / "store", arguments.store))
    finish(found, arguments.output)


def measure(found: Scaling, directory: Path, files: int, volt: Volt, *, seed: int = 1) -> None:
    """Carry out one round with so many files."""
    tree, out = directory / "tree", directory / "out"
    corpora.make_small_files(tree, files, seed=seed)
    volt.reset()
    time.sleep(RACY_SECONDS)
    commands: Mapping[str, str] = {
        "build": volt.build(tree, "bench"),
        "again": volt.build(tree, "bench"),
        "checkout": volt.checkout("bench", out),
        "verify": volt.verify(),
    }
    for operation, command in commands.items():
        _keep(found, operation, files, volt, command)
    subprocess.run(["rm", "-rf", "--", out], check=True)
    _keep(found, "gc", files, volt, volt.gc("bench"))


def finish(found: Scaling, output: Path | None) -> None:
    """Print, and write the same below `output` with the plots."""
    text = render(found)
    print(text)
    if output is None:
        return
    output.mkdir(parents=True, exist_ok=True)
    (output / "scaling.md").write_text(text)
    document = {
        "facts": found.facts,
        "samples": {
            operation: {str(files): [vars(sample) for sample in samples] for files, samples in by_count.items()}
            for operation, by_count in found.samples.items()
        },
    }
    (output / "scaling.json").write_text(json.dumps(document, indent=2) + "\n")
    counts = sorted({files for by_count in found.samples.values() for files in by_count})
    limit = {files: memory_must(files) / MIB for files in counts}
    (output / "rates.svg").write_text(plots.growth("Files per second", "files per second", found.rates()))
    (output / "memory.svg").write_text(plots.growth("Peak memory", "MiB", found.peaks(), limit))


def render(found: Scaling) -> str:
    """Return the figures as Markdown."""
    counts = sorted({files for by_count in found.samples.values() for files in by_count})
    lines = ["# How cost grows", "", *(f"- {name}: {value}" for name, value in found.facts.items()), ""]
    header = ("operation", *(f"{files:,}" for files in counts))
    growing = [*header, "time a file, largest to smallest"]
    rows = []
    for label, by_count in found.rates().items():
        slower = by_count[counts[0]] / by_count[counts[-1]]
        rows.append((label, *(f"{by_count[files]:,.0f}" for files in counts), f"x{slower:.2f}"))
    lines += ["Files per second, by the number of files in the tree:", "", *table_lines(growing, rows), ""]
    rows = [(label, *(f"{by_count[files]:.0f}" for files in counts)) for label, by_count in found.peaks().items()]
    rows.append(("must: 64 MiB + 250 B a file", *(f"{memory_must(files) / MIB:.0f}" for files in counts)))
    lines += ["Peak memory in MiB:", "", *table_lines(header, rows), ""]
    for heading, table in found.tables.items():
        lines += [f"## {heading}", "", *table, ""]
    return "\n".join(lines)


def megabytes(files: int) -> int:
    """Enough for a tree, its store, changed trees and variants of it; the image is sparse."""
    return 1024 + files * 28 * 1024 // (1 << 20)


def _keep(found: Scaling, operation: str, files: int, volt: Volt, command: str) -> None:
    os.sync()
    sample = run_timed(["sh", "-c", command], env=volt.environment)
    found.add(operation, files, sample)
    told = f"{files / sample.wall:,.0f} files/s, {sample.peak / MIB:.0f} MiB"
    print(f"{files:,} files: {operation}: {sample.wall:.2f} s, {told}", file=sys.stderr, flush=True)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(word.replace("_", "")) for word in text.split(",")))


if __name__ == "__main__":
    main()
