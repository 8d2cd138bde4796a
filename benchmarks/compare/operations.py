"""What is done with a store, each operation beside the plain tool that does the like.

A round is one candidate with one corpus on one file system; its operations run in the order of :data:`OPERATIONS`:
``cp -al`` and the halves change the ctime of what they link, so all that goes by times comes before them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import corpora
from benchmarks.compare.candidates import Candidate, Volt, quoted
from benchmarks.compare.timing import Pair, Sample, run_timed
from volt_cas.bench.yardsticks import cpus, raw_hashing

RACY_SECONDS = 2.1
"""A store cannot tell by its times whether a file changed that is younger than this, so it reads it again."""

_FIND = "-printf '%s %T@ %i\\n'"
_BLOCK = 1 << 20


class Absent(Exception):
    """The candidate has no such operation; says why."""


@dataclass
class Round:
    """One candidate, one corpus, one file system."""

    directory: Path
    corpus: str
    candidate: Candidate
    archive: Path | None = None
    """The tar that corpus A was unpacked from."""
    seed: int = 1
    _is_built: bool = False

    @property
    def tree(self) -> Path:
        """The corpus."""
        return self.directory / "tree"

    @property
    def out(self) -> Path:
        """Where commands put what they make; nothing is there."""
        path = self.directory / "out"
        subprocess.run(["rm", "-rf", "--", path], check=True)
        return path

    def yardstick(self, command: str) -> Sample:
        """Write everything out, then run and time a shell command."""
        os.sync()
        return run_timed(["sh", "-c", command])

    def timed(self, command: str | None) -> Sample:
        """The same for a command of the candidate."""
        if command is None:
            raise Absent("it has no such operation")
        os.sync()
        return run_timed(["sh", "-c", command], env=self.candidate.environment)

    def fill(self) -> None:
        """See to it that the store holds the corpus."""
        if not self._is_built:
            self.candidate.reset()
            self.candidate.run(self.candidate.build(self.tree, "bench"))
            self._is_built = True

    def empty(self) -> None:
        """See to it that the store holds nothing, and that nothing is at `out`."""
        assert not self.out.exists()
        self.candidate.reset()
        self._is_built = False

    def volt(self) -> Volt:
        """Return the candidate for what only Volt has."""
        if not isinstance(self.candidate, Volt):
            raise Absent("it has no such operation")
        return self.candidate


@dataclass(frozen=True)
class Operation:
    """One line of the tables."""

    name: str
    label: str
    yardstick: str
    """For people."""
    run: Callable[[Round], Pair]
    corpora: str = "ABC"
    """Those that it is measured with."""

    def yardstick_of(self, corpus: str) -> str:
        """Return the yardstick for a corpus."""
        return "raw SHA-256 on all CPUs" if (self.name, corpus) == ("verify", "C") else self.yardstick


def _build(bench: Round, *, used: bool = False) -> Pair:
    yardstick = bench.yardstick(f"cp -a {quoted(bench.tree)} {quoted(bench.out)} && sync -f {quoted(bench.directory)}")
    bench.empty()
    if used:
        other = bench.directory / "other"
        if not other.exists():
            corpora.make_scattered(other)
        bench.candidate.run(bench.candidate.build(other, "other"))
    candidate = bench.timed(bench.candidate.build(bench.tree, "bench"))
    bench._is_built = not used
    return yardstick, candidate


def _build_used(bench: Round) -> Pair:
    """Into a store that has had content: new folders come whole in Volt's, and here there is none to come."""
    return _build(bench, used=True)


def _again(bench: Round) -> Pair:
    bench.fill()
    yardstick = bench.yardstick(f"find {quoted(bench.tree)} {_FIND}")
    return yardstick, bench.timed(bench.candidate.build(bench.tree, "bench"))


def _changed(bench: Round) -> Pair:
    bench.fill()
    bench.seed += 1
    corpora.change_files(bench.tree, seed=bench.seed)
    time.sleep(RACY_SECONDS)
    yardstick = bench.yardstick(f"find {quoted(bench.tree)} {_FIND}")
    return yardstick, bench.timed(bench.candidate.build(bench.tree, "bench"))


def _verify(bench: Round) -> Pair:
    bench.fill()
    command = bench.candidate.verify()
    if bench.corpus == "C":
        total = sum(info.st_size for _, info in corpora.regular_files(bench.tree))
        cpu = time.process_time()
        wall = raw_hashing(total).seconds
        return Sample(wall=wall, cpu=time.process_time() - cpu), bench.timed(command)
    yardstick = f"find {quoted(bench.tree)} -type f -print0 | xargs -0 -n 64 -P {cpus()} sha256sum"
    return bench.yardstick(yardstick), bench.timed(command)


def _checkout(bench: Round) -> Pair:
    """The first one of a store: it makes what later ones find, files of equal content and other metadata."""
    bench.empty()
    bench.fill()
    return _link(bench)


def _checkout_again(bench: Round) -> Pair:
    volt = bench.volt()
    bench.fill()
    volt.run(volt.checkout("bench", bench.out))
    return _link(bench)


def _link(bench: Round) -> Pair:
    yardstick = bench.yardstick(f"cp -al {quoted(bench.tree)} {quoted(bench.out)}")
    command = bench.candidate.checkout("bench", bench.out)
    return yardstick, bench.timed(command)


def _copy(bench: Round) -> Pair:
    volt = bench.volt()
    bench.fill()
    yardstick = bench.yardstick(f"cp -a {quoted(bench.tree)} {quoted(bench.out)}")
    return yardstick, bench.timed(f"{volt.command} cas checkout bench {quoted(bench.out)} --copy")


def _gc(bench: Round) -> Pair:
    first, second = bench.directory / "first", bench.directory / "second"
    if not first.exists():
        corpora.split(bench.tree, first, second)
    bench.empty()
    for half in (first, second):
        bench.candidate.run(bench.candidate.build(half, half.name))
    command = bench.candidate.gc("second")
    if command is None:
        raise Absent("it has no such operation")
    corpora.make_objects(second, first, bench.out)
    return bench.yardstick(f"rm -rf {quoted(bench.directory / 'out')}"), bench.timed(command)


def _import(bench: Round, end: str = "", *, again: bool = False) -> Pair:
    volt, archive = bench.volt(), bench.archive
    if archive is None:
        raise Absent("the corpus is no archive")
    with archive.open("rb") as file:
        while file.read(_BLOCK):
            """Into the page cache."""
    target = quoted(bench.out)
    yardstick = bench.yardstick(f"mkdir {target} && tar -xf {quoted(archive)} -C {target}{end}")
    bench.empty()
    command = f"{volt.command} image import {quoted(archive)} bench --quiet"
    if again:
        volt.run(command)
    return yardstick, bench.timed(command)


def _import_durable(bench: Round) -> Pair:
    return _import(bench, f" && sync -f {quoted(bench.directory)}")


def _import_again(bench: Round) -> Pair:
    return _import(bench, f" && sync -f {quoted(bench.directory)}", again=True)


def _bundle_create(bench: Round) -> Pair:
    volt, bundle, archive = _bundling(bench), bench.directory / "tree.vbundle", bench.directory / "tree.zip"
    bench.fill()
    for path in (bundle, archive):
        path.unlink(missing_ok=True)
    yardstick = bench.yardstick(_zip(bench.tree, archive))
    return yardstick, bench.timed(f"{volt.command} bundle create {quoted(bundle)} --ref bench")


def _bundle_import(bench: Round) -> Pair:
    volt = _bundling(bench)
    bundle, archive = bench.directory / "tree.vbundle", bench.directory / "tree.zip"
    if not bundle.exists():
        bench.fill()
        volt.run(f"{volt.command} bundle create {quoted(bundle)} --ref bench")
        archive.unlink(missing_ok=True)
        volt.run(_zip(bench.tree, archive))
    yardstick = bench.yardstick(f"unzip -q {quoted(archive)} -d {quoted(bench.out)}")
    bench.empty()
    return yardstick, bench.timed(f"{volt.command} bundle import {quoted(bundle)}")


def _zip(tree: Path, archive: Path) -> str:
    """zip has no way to keep a device node, and waits for ever on a fifo."""
    return f"cd {quoted(tree)} && zip -0 -q -r -y {quoted(archive)} . -x 'dev/*'"


def _bundling(bench: Round) -> Volt:
    volt = bench.volt()
    if not volt.have_bundles():
        raise Absent("this store has no bundles")
    if shutil.which("zip") is None or shutil.which("unzip") is None:
        raise Absent("zip and unzip are not installed")
    return volt


OPERATIONS = (
    Operation("build", "build, empty store", "`cp -a` + `sync -f`", _build),
    Operation("build-used", "build, store with another tree", "`cp -a` + `sync -f`", _build_used, "AB"),
    Operation("again", "build again, unchanged", "`find` with stat", _again),
    Operation("changed", "build, 1 % changed", "`find` with stat", _changed),
    Operation("verify", "verify", f"`xargs -P{cpus()} sha256sum`", _verify),
    Operation("checkout", "checkout, links where it can", "`cp -al`", _checkout),
    Operation("checkout-again", "checkout once more, links", "`cp -al`", _checkout_again),
    Operation("copy", "checkout, copies", "`cp -a`", _copy),
    Operation("gc", "gc of half", "`rm -rf` of as many objects", _gc),
    Operation("import", "image import of a tar", "`tar -x`", _import, "A"),
    Operation("import-durable", "image import of a tar", "`tar -x` + `sync -f`", _import_durable, "A"),
    Operation("import-again", "import of the same tar again", "`tar -x` + `sync -f`", _import_again, "A"),
    Operation("bundle-create", "bundle create", "`zip -0 -r`", _bundle_create, "AB"),
    Operation("bundle-import", "bundle import, empty store", "`unzip`", _bundle_import, "AB"),
)
"""In the order of a round."""
