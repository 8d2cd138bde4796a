"""What a run of the store's comparison found, as data and as Markdown."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.compare.targets import MIB, TARGETS, Limit, memory_aim, memory_must
from benchmarks.compare.timing import Pair, Spread, cpu_ratio, first_line, table_lines, wall_ratio
from volt_core import __version__, native


@dataclass
class Result:
    """One operation of one candidate with one corpus."""

    operation: str
    label: str
    yardstick: str
    corpus: str
    candidate: str
    files: int
    pairs: list[Pair] = field(default_factory=list)
    absent: str = ""
    """Why it was left out."""
    note: str = ""
    """What a reader must know to compare it with others."""
    failed: str = ""
    """What went wrong."""

    @property
    def peak(self) -> int:
        """The most memory that any of its runs needed, in bytes."""
        return max(candidate.peak for _, candidate in self.pairs)

    def verdict(self, limit: Limit) -> str:
        """Say whether a limit is kept."""
        return "met" if limit.is_met(self.pairs) else "MISSED"


@dataclass
class Run:
    """One run: the facts of the machine, and its results in the order of the tables."""

    facts: dict[str, str]
    results: list[Result] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Candidates that are not installed, corpora that were not asked for."""

    def find(self, operation: str, corpus: str, candidate: str) -> Result | None:
        """Return a result, if there is one."""
        key = (operation, corpus, candidate)
        return next((it for it in self.results if (it.operation, it.corpus, it.candidate) == key), None)

    def result(self, operation: str, corpus: str, candidate: str) -> Result | None:
        """Return a result with figures, if there is one."""
        found = self.find(operation, corpus, candidate)
        return found if found and found.pairs else None

    def candidates(self) -> list[str]:
        """Return the candidates, in the order in which they were measured."""
        return list(dict.fromkeys(it.candidate for it in self.results))

    def operations(self) -> list[tuple[str, str]]:
        """Return operation and corpus of each line, corpora one after the other."""
        lines = dict.fromkeys((it.operation, it.corpus) for it in self.results)
        return sorted(lines, key=lambda line: line[1])

    def as_document(self) -> dict[str, Any]:
        """Return everything for JSON: the pairs as they were measured, and what follows from them."""
        documents = []
        for it in self.results:
            document = dataclasses.asdict(it)
            if it.pairs:
                document["pairs"] = [{"yardstick": vars(yard), "candidate": vars(own)} for yard, own in it.pairs]
                document |= {"ratio": vars(wall_ratio(it.pairs)), "peak": it.peak}
                target = TARGETS.get((it.operation, it.corpus)) if it.candidate.startswith("volt") else None
                if target:
                    document["must"] = {"limit": str(target.must), "met": target.must.is_met(it.pairs)}
                    document["aim"] = {"limit": str(target.aim), "met": target.aim.is_met(it.pairs)}
            documents.append(document)
        return {"facts": self.facts, "left_out": self.left_out, "results": documents}


def machine_facts(place: str) -> dict[str, str]:
    """Return what a reader needs to judge the figures."""
    versions = [re.sub(r"\(GNU \w+\) ", "", first_line(name, "--version")) for name in ("cp", "tar", "find", "xargs")]
    return {
        "volt": f"{__version__}, native: {native.implementation()}, Python {platform.python_version()}",
        "machine": f"{len(os.sched_getaffinity(0))} CPUs ({_cpu_model()}), Linux {platform.release()}",
        "file system": place,
        "tools": ", ".join(versions),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def render(run: Run) -> str:
    """Return the run as Markdown."""
    lines = ["# The store beside other tools", ""]
    lines += [f"- {name}: {value}" for name, value in run.facts.items()]
    lines += ["", "Medians of paired runs, [range] of the ratios. Whole processes, the start of Python included.", ""]
    for candidate in run.candidates():
        if candidate.startswith("volt"):
            lines += [f"## {candidate}", "", *_target_table(run, candidate), ""]
            lines += ["Peak memory of the largest process:", "", *_memory_table(run, candidate), ""]
    for corpus in dict.fromkeys(corpus for _, corpus in run.operations()):
        table = list(_peer_table(run, corpus))
        if table:
            lines += [f"## All, corpus {corpus}", "", "Seconds (x yardstick).", "", *table, ""]
    left_out = [*run.left_out, *_absent(run)]
    if left_out:
        lines += ["## Left out", "", *(f"- {line}" for line in left_out), ""]
    return "\n".join(lines)


def _absent(run: Run) -> list[str]:
    """Say what has no figures and why; what other programs do not have at all is seen in their table."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for it in run.results:
        if it.failed or (it.absent and it.candidate.startswith("volt")):
            reasons.setdefault((it.candidate, it.corpus, it.failed or it.absent), []).append(it.operation)
    return [f"{who}, corpus {corpus}, {', '.join(names)}: {why}" for (who, corpus, why), names in reasons.items()]


def _target_table(run: Run, candidate: str) -> Iterator[str]:
    header = ("corpus", "operation", "s", "yardstick", "s", "x yardstick", "x in CPU seconds", "must", "aim")
    rows = []
    for operation, corpus in run.operations():
        result = run.result(operation, corpus, candidate)
        if result is None:
            continue
        target = TARGETS.get((operation, corpus))
        ratio = wall_ratio(result.pairs)
        told = str(ratio)
        if target and target.must.percent:
            told = f"{100 / ratio.median:.0f} % [{100 / ratio.high:.0f}-{100 / ratio.low:.0f}] of raw"
        rows.append(
            (
                corpus,
                result.label,
                f"{_median(result.pairs, 1):.2f}",
                result.yardstick,
                f"{_median(result.pairs, 0):.2f}",
                told,
                str(cpu_ratio(result.pairs)),
                f"{target.must}: {result.verdict(target.must)}" if target else "-",
                f"{target.aim}: {result.verdict(target.aim)}" if target else "-",
            )
        )
    return table_lines(header, rows)


def _memory_table(run: Run, candidate: str) -> Iterator[str]:
    rows = []
    for operation, corpus in run.operations():
        result = run.result(operation, corpus, candidate)
        if result is None:
            continue
        limits = (memory_must(result.files), memory_aim(result.files))
        verdicts = (f"<= {it / MIB:.0f}: {'met' if result.peak <= it else 'MISSED'}" for it in limits)
        rows.append((corpus, result.label, f"{result.files}", f"{result.peak / MIB:.0f}", *verdicts))
    return table_lines(("corpus", "operation", "files", "MiB", "must", "aim"), rows)


def _peer_table(run: Run, corpus: str) -> Iterator[str]:
    operations = [operation for operation, of in run.operations() if of == corpus]
    others = run.candidates()[1:] if run.candidates()[0].startswith("volt") else run.candidates()
    operations = [it for it in operations if any(run.result(it, corpus, who) for who in others)]
    if not operations:
        return iter(())
    labels = {it.operation: it.label for it in run.results}
    rows = []
    for who in run.candidates():
        found = [run.result(operation, corpus, who) for operation in operations]
        if any(found):
            peak = max(it.peak for it in found if it)
            rows.append((who, *(_cell(it) for it in found), f"{peak / MIB:.0f}"))
    return table_lines(("", *(labels[it] for it in operations), "peak MiB"), rows)


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    return f"{_median(result.pairs, 1):.2f} (x{wall_ratio(result.pairs).median:.2f}){result.note and ' ' + result.note}"


def _median(pairs: Sequence[Pair], which: int) -> float:
    return Spread.of(pair[which].wall for pair in pairs).median


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
