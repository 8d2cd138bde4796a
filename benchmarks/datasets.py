"""Seeded data: trees of files, installed plugins, workloads. Equal arguments give equal data on any machine."""

from __future__ import annotations

import hashlib
import os
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from volt_core.models.workload import ContainerSpec, Kind, Workload
from volt_core.paths import VoltPaths
from volt_core.workloads import index
from volt_core.workloads.folders import Folders

PLUGIN_PREFIX = "bench"
_EPOCH = 1_600_000_000


@dataclass(frozen=True)
class Shape:
    """What a tree is made of. Sizes are log-normal around `median` bytes, none above `largest`."""

    directories: int
    files: int
    median: int
    largest: int


SMALL_FILES = Shape(directories=400, files=3000, median=1500, largest=32 * 1024)
"""As in ``/usr/share`` and ``/usr/include``: the cost is in the files, not in the bytes."""
LARGE_FILES = Shape(directories=2, files=8, median=8 << 20, largest=8 << 20)
"""The cost is in the bytes."""


def tenth(shape: Shape) -> Shape:
    """Return a tenth of it: of its files where they are small, else of their size."""
    if shape.median == shape.largest:
        return Shape(shape.directories, shape.files, shape.median // 10, shape.largest // 10)
    return Shape(shape.directories // 10, shape.files // 10, shape.median, shape.largest)


@dataclass(frozen=True)
class Tree:
    """A tree that was made, and what is true of it."""

    path: Path
    digests: dict[bytes, bytes]
    """SHA-256 of each regular file by its path; a further name of a file that has one already is left out."""
    bytes: int
    """Content of these files."""
    entries: int
    """Everything below the root."""

    @property
    def contents(self) -> int:
        """Number of different contents, the empty one not counted: no store needs an object for it."""
        return len(set(self.digests.values()) - {hashlib.sha256(b"").digest()})


def make_tree(target: Path, shape: Shape, *, seed: int = 1) -> Tree:
    """Make a tree at `target`, with a few duplicates, empty files, symlinks and hard links as a distribution has."""
    rng = random.Random(seed)
    target.mkdir()
    directories = [target]
    for number in range(shape.directories):
        directories.append(directories[rng.randrange(len(directories))] / f"d{number}")
        directories[-1].mkdir()
    digests: dict[bytes, bytes] = {}
    total, others = 0, 0
    data = b""
    for number in range(shape.files):
        path = rng.choice(directories) / f"f{number}"
        if number % 40 != 39:  # else equal to the one before: every fortieth, as in a minimal Debian
            data = rng.randbytes(_draw_size(rng, shape) if number % 250 != 99 else 0)
        path.write_bytes(data)
        path.chmod(0o755 if number % 10 == 0 else 0o644)
        os.utime(path, (_EPOCH, _EPOCH + rng.randrange(10**7)))
        digests[os.fsencode(path.relative_to(target))] = hashlib.sha256(data).digest()
        total += len(data)
        if number % 12 == 5:
            path.with_name(f"s{number}").symlink_to(path.name)
            others += 1
        if number % 300 == 7:
            path.with_name(f"h{number}").hardlink_to(path)
            others += 1
    return Tree(path=target, digests=digests, bytes=total, entries=shape.directories + shape.files + others)


def make_tar(tree: Tree, target: Path) -> Path:
    """Write the tree as an uncompressed tar, members sorted by name."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(tree.path, arcname=".")
    return target


def make_plugins(target: Path, count: int) -> Path:
    """Install `count` tiny distributions below `target`, a directory to put on the path.

    Each provides one thing, in turn a backend, an image source and a group of commands, and hears of events.
    """
    target.mkdir()
    for number in range(count):
        name = f"{PLUGIN_PREFIX}{number:02}"
        module = f"volt_{name}"
        metadata = target / f"volt_{name}-1.0.dist-info"
        metadata.mkdir()
        metadata.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: volt-{name}\nVersion: 1.0\n")
        metadata.joinpath("entry_points.txt").write_text(f"[volt]\n{name} = {module}.plugin\n")
        metadata.joinpath("RECORD").write_text(f"{module}/__init__.py,,\n{module}/plugin.py,,\n")
        package = target / module
        package.mkdir()
        package.joinpath("__init__.py").write_text("")
        body = _REGISTRATIONS[number % len(_REGISTRATIONS)]
        package.joinpath("plugin.py").write_text((_PLUGIN + body).replace("@NAME@", name))
    return target


def make_containers(paths: VoltPaths, count: int, backend: str) -> list[str]:
    """Write the folders of `count` containers that were created and never started; return their names.

    They have no image and no root file system: they can be listed and nothing else.
    """
    paths.prepare()
    folders = Folders(paths)
    names = []
    for number in range(count):
        name = f"bench-{number:03}"
        digest = hashlib.sha256(name.encode()).hexdigest()
        spec = ContainerSpec(image="debian:bookworm", root=f"sha256:{digest}", command=("sleep", "infinity"))
        workload = Workload(
            name=name,
            id=digest[:32],
            kind=Kind.CONTAINER,
            backend=backend,
            spec=spec,
            created=(_EPOCH + number) * 10**9,
            labels={"tier": "bench"},
        )
        folders.make(workload.kind, name)
        folders.write_env(workload)
        folders.commit(workload)
        names.append(name)
    index.rebuild(paths, folders)
    return names


def batches(tree: Tree, size: int) -> Iterator[list[bytes]]:
    """Yield the paths of the tree's files, `size` at a time."""
    paths = list(tree.digests)
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


def _draw_size(rng: random.Random, shape: Shape) -> int:
    if shape.median == shape.largest:
        return shape.largest
    return min(shape.largest, int(shape.median * rng.lognormvariate(0, 1.2)))


_PLUGIN = """\
from volt_core.hookspecs import hookimpl

@hookimpl
def volt_after_event(event, workload):
    pass

"""
_REGISTRATIONS = (
    """\
from volt_core.contracts import Backend, Probe
from volt_core.models.workload import Kind, Status, WorkloadStatus

class BenchBackend(Backend):
    NAME = "@NAME@"
    KIND = Kind.CONTAINER
    PRIORITY = -1

    @classmethod
    def probe(cls):
        return Probe.no("made for benchmarks")

    def create(self, workload): ...
    def start(self, workload): ...
    def stop(self, workload, timeout): ...
    def kill(self, workload, signal): ...
    def delete(self, workload): ...
    def status(self, workload): return WorkloadStatus(status=Status.CREATED)
    def wait(self, workload, timeout=None): ...
    def logs(self, workload, *, follow=False, tail=None, since=0): return iter(())

@hookimpl
def volt_register_backends():
    return [BenchBackend]
""",
    """\
from volt_core.contracts import ImageSource, Probe

class BenchSource(ImageSource):
    NAME = "@NAME@"
    SCHEMES = ("@NAME@",)

    def probe(self):
        return Probe.yes()

    def fetch(self, request, ref, store, progress): ...

@hookimpl
def volt_register_image_sources():
    return [BenchSource]
""",
    """\
from volt_core.models.extension import CommandGroup

@hookimpl
def volt_register_commands():
    return [CommandGroup(name="@NAME@", help="Commands of @NAME@.", target="volt_@NAME@.commands:app")]
""",
)
