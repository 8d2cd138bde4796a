"""The measuring: each operation of the store beside its yardstick, round after round, medians in the end."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from volt_cas.bench import sample
from volt_cas.bench.yardsticks import Timed, Yardsticks, cpus, raw_hashing
from volt_cas.mounts import file_system
from volt_cas.staging import sync_filesystem
from volt_cas.store import CasStore
from volt_core import __version__, fs, native
from volt_core.contracts import CheckoutMode, Progress, Ref
from volt_core.errors import StoreError

RACY_SECONDS = 2.1
"""The store reads a file again that is younger than this, for its times cannot tell whether it changed."""
LARGE_FILES, LARGE_SIZE = 8, 8 << 20
_SPENT = 15.0
"""No further round begins after so many seconds."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader needs to judge the figures."""

    cpus: int
    kernel: str
    file_system: str
    native: str
    volt: str
    python: str


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: medians of all rounds, in seconds."""

    name: str
    seconds: float
    yardstick: str
    yardstick_seconds: float
    ratio: float
    """Median of the ratios of neighbours; below 1 the store is faster."""
    rate: float
    unit: str
    """``files/s`` or ``MB/s``: of the store's rate."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    machine: Machine
    files: int
    bytes: int
    rounds: int
    operations: tuple[Measured, ...]


class Bench:
    """One run in a folder of its own."""

    def __init__(self, folder: Path, files: int, progress: Progress) -> None:
        self._folder = folder
        self._files = files
        self._progress = progress
        self._yardsticks = Yardsticks()
        self._store = CasStore(folder / "store")
        self._digest = ""
        self._found: dict[str, list[tuple[float, Timed]]] = {}

    @property
    def _tree(self) -> Path:
        return self._folder / "tree"

    @property
    def _out(self) -> Path:
        return self._folder / "out"

    def run(self, rounds: int) -> Report:
        """Measure; fewer rounds are made where each takes long. Raises :class:`StoreError` for a wrong result."""
        began = time.monotonic()
        self._progress.begin("Making files")
        self._sample = sample.make_tree(self._tree, self._files)
        self._large = sample.make_large_files(self._folder / "large", LARGE_FILES, LARGE_SIZE)
        self._warm_up()
        done = 0
        while done < rounds and (not done or time.monotonic() - began < _SPENT):
            done += 1
            self._progress.begin(f"Round {done} of {rounds}")
            time.sleep(RACY_SECONDS)
            self._round()
        machine = Machine(
            cpus=cpus(),
            kernel=platform.release(),
            file_system=file_system(self._folder),
            native=native.implementation(),
            volt=__version__,
            python=platform.python_version(),
        )
        operations = tuple(self._summary(name) for name in self._found)
        return Report(machine=machine, files=self._files, bytes=self._sample.bytes, rounds=done, operations=operations)

    def _warm_up(self) -> None:
        """Let all modules be loaded that the operations need."""
        sample.make_tree(self._folder / "few", 8)
        store = CasStore(self._folder / "warm-up")
        digest = store.put_directory(self._folder / "few").digest
        store.checkout(digest, self._folder / "few-out", mode=CheckoutMode.LINK)
        store.verify()
        store.gc(grace=0)

    def _round(self) -> None:
        tree, out, store, yardsticks = self._tree, self._out, self._store, self._yardsticks
        fs.remove_tree(store.path)
        ref = Ref(name="bench", digest="")
        self._measure("build", lambda: self._durable(yardsticks.copy(tree, out)), lambda: self._put(ref))
        self._measure("build again", lambda: yardsticks.look(tree), lambda: self._put(ref))
        self._measure("verify", lambda: yardsticks.hash(tree), self._verify)
        # Links change the ctime of what they link, so that it would have to be read again: after all builds of it.
        self._measure("checkout, links", lambda: yardsticks.link(tree, out), self._check_out)
        self._measure("gc of half", self._prepare_gc(), self._gc)
        size = LARGE_FILES * LARGE_SIZE
        self._measure("hash 64 MiB", lambda: raw_hashing(size), self._hash)

    def _measure(self, name: str, yardstick: Callable[[], Timed], operation: Callable[[], None]) -> None:
        self._sync()
        beside = yardstick()
        fs.remove_tree(self._out)
        self._sync()
        began = time.perf_counter()
        operation()
        seconds = time.perf_counter() - began
        fs.remove_tree(self._out)
        self._found.setdefault(name, []).append((seconds, beside))

    def _put(self, ref: Ref) -> None:
        done = self._store.put_directory(self._tree, ref=ref)
        self._digest = done.digest
        self._check("files", done.files, self._files)

    def _verify(self) -> None:
        report = self._store.verify()
        self._check("objects", report.objects, sum(self._sample.contents))
        self._check("damaged objects", len(report.damaged), 0)

    def _check_out(self) -> None:
        done = self._store.checkout(self._digest, self._out, mode=CheckoutMode.LINK)
        self._check("files", done.files, self._files)

    def _prepare_gc(self) -> Callable[[], Timed]:
        """Let the store hold the halves by themselves and lose one; the yardstick removes as many files."""
        second = sample.HALVES[1]
        for half in sample.HALVES:
            self._store.put_directory(self._tree / half, ref=Ref(name=half, digest=""))
        for name in ("bench", second):
            self._store.delete_ref(name)
        self._yardsticks.copy(self._tree / second, self._out)
        return lambda: self._yardsticks.remove(self._out)

    def _gc(self) -> None:
        self._check("objects", self._store.gc(grace=0).objects, self._sample.contents[1])

    def _hash(self) -> None:
        descriptor = os.open(self._folder / "large", os.O_RDONLY | os.O_DIRECTORY)
        try:
            digests = native.hash_files(descriptor, self._large)
        finally:
            os.close(descriptor)
        self._check("digests", len(set(digests)), 1)

    def _durable(self, copied: Timed) -> Timed:
        began = time.perf_counter()
        self._sync()
        return Timed(f"{copied.name}, sync", copied.seconds + time.perf_counter() - began)

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            sync_filesystem(descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    def _check(what: str, found: int, expected: int) -> None:
        """A figure of a wrong result is worth nothing."""
        if found != expected:
            raise StoreError(f"The store was measured and was wrong: {found} {what}, not {expected}")

    def _summary(self, name: str) -> Measured:
        pairs = self._found[name]
        seconds = statistics.median(own for own, _ in pairs)
        amount, unit = (LARGE_FILES * LARGE_SIZE / 1e6, "MB/s") if name.startswith("hash") else (self._files, "files/s")
        return Measured(
            name=name,
            seconds=seconds,
            yardstick=pairs[-1][1].name,
            yardstick_seconds=statistics.median(beside.seconds for _, beside in pairs),
            ratio=statistics.median(own / beside.seconds for own, beside in pairs),
            rate=(amount / 2 if name.startswith("gc") else amount) / seconds,
            unit=unit,
        )
