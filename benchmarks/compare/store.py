"""The store beside plain tools and beside other stores: whole processes, on a fresh file system image each round.

Run it as ``python -m benchmarks.compare.store``, as root. Caches are warm; before each timing everything is written
out by ``sync``. The yardstick is run again right before each candidate, and a ratio is that of two neighbours.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import corpora
from benchmarks.compare import filesystem, plots, results
from benchmarks.compare.candidates import Candidate, Volt
from benchmarks.compare.operations import OPERATIONS, RACY_SECONDS, Absent, Operation, Round
from benchmarks.compare.peers import PEERS
from benchmarks.compare.results import Result, Run
from volt_core.testing import roots

_NAMES = tuple(operation.name for operation in OPERATIONS)


@dataclass(frozen=True)
class Setting:
    """What a run measures, and with how much."""

    kind: str = "directory"
    below: Path | None = None
    operations: tuple[str, ...] = _NAMES
    archive: Path | None = None
    small_files: int = corpora.SMALL_FILES
    large_size: int = corpora.LARGE_SIZE
    pairs: int = 1

    @property
    def megabytes(self) -> int:
        """Enough for the corpus, a store, what is checked out and what the yardsticks make; the image is sparse."""
        archive = self.archive.stat().st_size if self.archive else 0
        largest = max(archive, corpora.LARGE_FILES * self.large_size, self.small_files * 8192)
        return 2048 + 8 * largest // (1 << 20)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write. Ends with 1 if an operation of Volt failed."""
    arguments = _parse(argv)
    setting = Setting(
        kind=arguments.fs or filesystem.default_kind(),
        below=arguments.directory,
        operations=arguments.operations,
        archive=_archive(arguments.tar) if "A" in arguments.corpora else None,
        small_files=arguments.files,
        large_size=arguments.megabytes << 20,
        pairs=arguments.pairs,
    )
    run = Run(results.machine_facts(filesystem.where(setting.kind)))
    run.facts["rounds"] = f"{arguments.rounds} of {arguments.pairs} pairs; other tools {arguments.peer_rounds}"
    peers = [peer for peer in PEERS if peer.NAME in arguments.peers]
    run.left_out += [f"{peer.NAME}: not installed" for peer in peers if not peer.find()]
    peers = [peer for peer in peers if peer.find()]
    run.facts |= {peer.NAME: f"{peer.version()}; {peer.DIFFERENCE}" for peer in peers} or {"other stores": "none"}
    try:
        for corpus in arguments.corpora:
            for store in arguments.store or ["cas"]:
                for number in range(arguments.rounds):
                    measure(run, setting, corpus, functools.partial(Volt, store=store), seed=number)
            for peer in peers:
                for number in range(arguments.peer_rounds):
                    measure(run, setting, corpus, peer, seed=number)
    finally:
        if any(result.pairs or result.failed for result in run.results):
            finish(run, arguments.output)
    if any(result.failed for result in run.results if result.candidate.startswith("volt")):
        sys.exit(1)


def measure(run: Run, setting: Setting, corpus: str, make: Callable[[Path], Candidate], *, seed: int = 0) -> None:
    """Carry out one round and add to the results; `make` gives the candidate for a place."""
    with filesystem.fresh(setting.kind, setting.megabytes, below=setting.below) as directory:
        bench = Round(directory, corpus, make(directory / "store"), setting.archive if corpus == "A" else None)
        bench.seed = seed * 100
        make_corpus(setting, corpus, bench.tree)
        files = sum(1 for _ in corpora.regular_files(bench.tree))
        _tell(f"{corpus}, {bench.candidate.name}: {files} files")
        try:
            _warm_up(bench)
        except subprocess.CalledProcessError as error:
            if isinstance(bench.candidate, Volt):
                raise
            run.left_out.append(f"{bench.candidate.name}, corpus {corpus}: {_said(error)}")
            return
        for operation in OPERATIONS:
            if operation.name in setting.operations and corpus in operation.corpora:
                result = _result(run, operation, bench, files)
                for _ in range(setting.pairs):
                    _carry_out(operation, bench, result)


def make_corpus(setting: Setting, corpus: str, target: Path) -> None:
    """Make one of the corpora."""
    if corpus == "A":
        assert setting.archive is not None
        corpora.unpack(setting.archive, target)
    elif corpus == "B":
        corpora.make_small_files(target, setting.small_files)
    else:
        corpora.make_large_files(target, setting.large_size)


def finish(run: Run, output: Path | None) -> None:
    """Print the run, and write it below `output`: ``results.md``, ``results.json`` and ``ratios.svg``."""
    text = results.render(run)
    print(text)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "results.md").write_text(text)
        (output / "results.json").write_text(json.dumps(run.as_document(), indent=2) + "\n")
        (output / "ratios.svg").write_text(plots.ratios(run))


def _warm_up(bench: Round) -> None:
    """Let modules be compiled, and the corpus become old enough that its times can be believed."""
    small = bench.directory / "warm-up"
    small.mkdir()
    (small / "file").write_text("content")
    bench.empty()
    bench.candidate.run(bench.candidate.build(small, "bench"))
    if command := bench.candidate.verify():
        bench.candidate.run(command)
    bench.empty()
    time.sleep(RACY_SECONDS)


def _said(error: subprocess.CalledProcessError) -> str:
    lines = (error.stderr or "").strip().splitlines()
    return f"ended with status {error.returncode}: {' '.join(lines[-3:])}"


def _carry_out(operation: Operation, bench: Round, result: Result) -> None:
    if result.failed or result.absent:
        return
    try:
        pair = operation.run(bench)
    except Absent as absent:
        result.absent = str(absent)
    except subprocess.CalledProcessError as error:
        result.failed = _said(error)
        _tell(f"  {operation.name}: {result.failed}")
    else:
        result.pairs.append(pair)
        _tell(f"  {operation.name}: {pair[1].wall:.2f} s, {pair[1].wall / pair[0].wall:.2f} x {result.yardstick}")


def _result(run: Run, operation: Operation, bench: Round, files: int) -> Result:
    name, corpus, candidate = operation.name, bench.corpus, bench.candidate.name
    if found := run.find(name, corpus, candidate):
        return found
    note = "copies" if name == "checkout" and not bench.candidate.LINKS else ""
    run.results.append(
        Result(name, operation.label, operation.yardstick_of(corpus), corpus, candidate, files, note=note)
    )
    return run.results[-1]


def _archive(chosen: Path | None) -> Path:
    return (chosen or roots.debian_tar(roots.cache_directory())).resolve()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--corpora", type=_list_of("A", "B", "C"), default=("A", "B"), help="of A,B,C (default A,B)")
    add("--operations", type=_list_of(*_NAMES), default=_NAMES, help=f"of {','.join(_NAMES)} (default all)")
    names = tuple(peer.NAME for peer in PEERS)
    add("--peers", type=_list_of(*names), default=names, help=f"of {','.join(names)}, or none (default all)")
    add("--store", action="append", metavar="NAME", help="a store of Volt by its name; repeat it to compare several")
    add("--rounds", type=int, default=3, help="fresh file systems for Volt (default 3)")
    add("--peer-rounds", type=int, default=1, help="fresh file systems for each other tool (default 1)")
    add("--pairs", type=int, default=1, help="pairs per round (default 1)")
    add("--tar", type=Path, help="an uncompressed tar for A (default: a minimal Debian by mmdebstrap)")
    add("--files", type=int, default=corpora.SMALL_FILES, help=f"files of B (default {corpora.SMALL_FILES})")
    add("--megabytes", type=int, default=corpora.LARGE_SIZE >> 20, help="size of each of the four files of C")
    add("--fs", choices=filesystem.KINDS, help="default: ext4 for root, else directory")
    add("--directory", type=Path, help="where the image or the directory is made")
    add("--output", type=Path, metavar="DIR", help="where to write results.md, results.json and ratios.svg")
    return parser.parse_args(argv)


def _list_of(*known: str) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        words = tuple(word for word in text.split(",") if word not in ("", "none"))
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(known)}")
        return tuple(word for word in known if word in words)

    return parse


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
