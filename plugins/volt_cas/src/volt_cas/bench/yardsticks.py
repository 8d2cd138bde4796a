"""What the store is measured beside: the plain tools for the like, or Python where a host has not got them."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

from volt_core import run
from volt_core.errors import BackendUnavailable, CommandFailed

_TIMEOUT = 600.0
_BLOCK = 1 << 20

Command: TypeAlias = Sequence[str | Path]


class Timed(NamedTuple):
    """What was run, and how many seconds it took."""

    name: str
    seconds: float


class Yardsticks:
    """The tools of this host. Each call runs one; a tool that fails once is not tried again."""

    def __init__(self) -> None:
        self._unfit: set[str] = set()

    def copy(self, source: Path, target: Path) -> Timed:
        """Copy a tree with all that belongs to it. What makes it durable is the caller's business."""
        argv: Command = ["cp", "-a", source, target]
        return self._either("cp -a", argv, lambda: _copy(source, target))

    def link(self, source: Path, target: Path) -> Timed:
        """Make the same tree of hard links."""
        argv: Command = ["cp", "-al", source, target]
        return self._either("cp -al", argv, lambda: _copy(source, target, os.link))

    def look(self, tree: Path) -> Timed:
        """Ask for the status of everything in a tree."""
        return self._either("find", ["find", tree, "-printf", "%s %T@ %i\n"], lambda: _look(tree))

    def hash(self, tree: Path) -> Timed:
        """Hash every file of a tree, on all CPUs."""
        command = f'find "$0" -type f -print0 | xargs -0 -n 64 -P {cpus()} sha256sum'
        argv: Command = ["sh", "-c", command, tree]
        return self._either("xargs sha256sum", argv, lambda: _hash(tree))

    def remove(self, tree: Path) -> Timed:
        """Remove a tree."""
        return self._either("rm -rf", ["rm", "-rf", "--", tree], lambda: shutil.rmtree(tree))

    def _either(self, name: str, argv: Command, plain: Callable[[], object]) -> Timed:
        if name not in self._unfit:
            began = time.perf_counter()
            try:
                with open(os.devnull, "wb") as null:
                    self._run([str(word) for word in argv], null.fileno())
                return Timed(name, time.perf_counter() - began)
            except (BackendUnavailable, CommandFailed):
                self._unfit.add(name)
                self._clear(argv)
        began = time.perf_counter()
        plain()
        return Timed(f"Python for {name}", time.perf_counter() - began)

    @staticmethod
    def _run(argv: list[str], null: int) -> None:
        with run.start(argv, stdout=null) as process:
            status = process.wait(_TIMEOUT)
        if status:
            raise run.failure(argv, status, b"")

    @staticmethod
    def _clear(argv: Command) -> None:
        """Remove what a tool had begun to make before it failed."""
        target = argv[-1]
        if argv[0] == "cp" and isinstance(target, Path):
            shutil.rmtree(target, ignore_errors=True)


def raw_hashing(size: int) -> Timed:
    """Hash so many bytes of memory on all CPUs: what no verification can do faster."""
    block = os.urandom(_BLOCK)
    share = max(1, size // _BLOCK // cpus())

    def hash_share(blocks: int) -> None:
        digest = hashlib.sha256()
        for _ in range(blocks):
            digest.update(block)

    with ThreadPoolExecutor(cpus()) as pool:
        list(pool.map(hash_share, [1] * cpus()))  # the threads are there when the time begins
        began = time.perf_counter()
        list(pool.map(hash_share, [share] * cpus()))
        seconds = time.perf_counter() - began
    return Timed("SHA-256 in memory", seconds * size / (share * cpus() * _BLOCK))


def cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def _copy(source: Path, target: Path, copy: Callable[[str, str], object] = shutil.copy2) -> None:
    shutil.copytree(source, target, symlinks=True, copy_function=copy)


def _look(tree: Path) -> None:
    for folder, _, names in os.walk(tree):
        for name in names:
            os.lstat(os.path.join(folder, name))


def _hash(tree: Path) -> None:
    for folder, _, names in os.walk(tree):
        for name in names:
            hashlib.sha256(Path(folder, name).read_bytes()).digest()
