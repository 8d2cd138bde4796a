"""Containers on real systemd for the tests of this plugin."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

import volt_core
from volt_core import fs
from volt_core.api import Volt
from volt_core.contracts import BackendContext
from volt_core.models.workload import Kind
from volt_core.paths import VoltPaths
from volt_core.testing.census import Census, take_census
from volt_core.testing.command import Command
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.hosts.pool import DEBIAN
from volt_core.testing.workbench import BackendKit, Workbench
from volt_nspawn.backend import NspawnBackend
from volt_nspawn.install import SETTINGS_FOLDER
from volt_nspawn.names import machine_name, unit_name, unit_pattern


@pytest.fixture
def backend(paths: VoltPaths) -> NspawnBackend:
    """The backend with a store in memory."""
    return NspawnBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))


@pytest.fixture
def image(backend: NspawnBackend, busybox_root: Path) -> str:
    """Digest of a tree with busybox."""
    return backend.store.put_directory(busybox_root).digest


@pytest.fixture
def bench(backend: NspawnBackend, image: str) -> Iterator[Workbench]:
    """Makes containers and clears them away."""
    bench = Workbench(backend, BackendKit().make_spec, image, BackendKit.PATIENCE)
    yield bench
    bench.clear()


@pytest.fixture
def drop_in() -> Iterator[_DropIns]:
    """Adds to units by hand for the length of a test."""
    drop_ins = _DropIns()
    yield drop_ins
    drop_ins.clear()


class _DropIns:
    def __init__(self) -> None:
        self._folders: list[Path] = []

    def __call__(self, unit: str, text: str) -> None:
        """Write a drop-in of a unit; systemd reads it at the next reload."""
        folder = Path("/etc/systemd/system") / f"{unit}.d"
        folder.mkdir(exist_ok=True)
        folder.joinpath("60-test.conf").write_text(text)
        self._folders.append(folder)

    def clear(self) -> None:
        for folder in self._folders:
            if folder.exists():
                fs.remove_tree(folder)


_FORGETTING_SECONDS = 10.0


@pytest.fixture(scope="session")
def boxed_root(tmp_path_factory: pytest.TempPathFactory, busybox_root: Path) -> Path:
    """The root of an instance that holds the image ``box``."""
    root = tmp_path_factory.mktemp("boxed") / "root"
    Volt(root, environ={}).images.import_(str(busybox_root), "box")
    return root


@pytest.fixture
def volt(boxed_root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """``volt`` on the instance with the image ``box``; its containers are removed afterwards."""
    monkeypatch.setenv("VOLT_ROOT", str(boxed_root))
    yield Command(boxed_root, capfd)
    workloads = Volt(boxed_root).workloads
    for item in workloads.all():
        workloads.delete(item.workload.name, force=True)


UnitOf = Callable[[str], str]
NothingLeft = Callable[[], None]
MakeImage = Callable[..., str]


@pytest.fixture
def make_image(volt: Command, tmp_path: Path) -> Iterator[MakeImage]:
    """Import a small image after something was done to its tree, and return its name."""
    names: list[str] = []

    def make(change: Callable[[Path], object] = lambda _: None) -> str:
        tree = tmp_path / "tree"
        for name in ("bin", "dev", "proc", "run", "sys", "usr"):
            (tree / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", tree / "bin/busybox")
        change(tree)
        names.append(volt.ok("image", "import", "--quiet", str(tree), "odd").strip())
        return names[-1]

    yield make
    for name in names:
        Volt(volt.root).images.delete(name)


@pytest.fixture
def unit_of(volt: Command) -> UnitOf:
    """Return the unit of a container of that instance."""
    return lambda name: unit_name(VoltPaths.below(volt.root), name)


@pytest.fixture
def nothing_left(volt: Command) -> NothingLeft:
    """Insists that nothing is lost or left of what was made since the test began."""
    # The first container of an instance brings what stays: programs, directories, empty lock files.
    volt.ok("run", "--name", "first", "box", "true")
    volt.ok("delete", "first")
    before = _census(volt.root)

    def check() -> None:
        deadline = time.monotonic() + _FORGETTING_SECONDS
        while (changed := _changes(before, _census(volt.root))) and time.monotonic() < deadline:
            # systemd forgets units, and the kernel cgroups, when it comes to it.
            time.sleep(0.05)
        assert changed == {}

    return check


@pytest.fixture
def all_is_well(volt: Command, nothing_left: NothingLeft) -> Callable[[], None]:
    """Insists that the container 'web' starts again, and that nothing is left of it when it is deleted."""

    def check() -> None:
        volt.ok("start", "web")
        assert volt.state("web")["status"] == "running"
        volt.ok("delete", "--force", "web")
        nothing_left()

    return check


def _census(root: Path) -> Census:
    folders = [
        root / "lib/containers",
        root / "lib/locks",
        root / "lib/libexec",
        root / "lib/cas/refs/use",
        root / "run",
    ]
    folders += [Path("/etc/systemd"), Path("/run/systemd/system"), Path("/run/systemd/transient")]
    return take_census(cgroups=["volt-*"], folders=folders)


def _changes(before: Census, after: Census) -> dict[str, set[str]]:
    grown = {f"left {kind}": names for kind, names in before.left(after).items()}
    gone = {f"lost {kind}": names for kind, names in before.lost(after).items()}
    # What a command that was killed had not yet given its name is for the store's gc.
    kept = {kind: {name for name in names if not _is_unfinished(name)} for kind, names in {**grown, **gone}.items()}
    return {kind: names for kind, names in kept.items() if names}


def _is_unfinished(name: str) -> bool:
    return "/lib/cas/" in name and name.endswith(".tmp")


class Instance:
    """An instance of its own with the real store; ``volt`` is run in it as a process, with `env` beside its own."""

    def __init__(self, root: Path, env: Mapping[str, str] | None = None) -> None:
        self.root = root
        self._env = {**os.environ, **(env or {})}
        self.paths = VoltPaths.below(root)

    def argv(self, *words: str) -> list[str]:
        """Return the command line of ``volt``."""
        return [sys.executable, "-P", "-m", "volt_core", "--root", str(self.root), *words]

    def process(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run ``volt``."""
        argv = self.argv(*words)
        return subprocess.run(argv, input=stdin, capture_output=True, timeout=120, check=False, env=self._env)

    def __call__(self, *words: str) -> str:
        """Run ``volt``, insist on success, and return what it printed."""
        done = self.process(*words)
        assert done.returncode == 0, (words, done)
        return done.stdout.decode().removesuffix("\n")

    def state(self, name: str) -> dict[str, Any]:
        """Return what ``volt inspect`` says of the state of a container."""
        state: dict[str, Any] = json.loads(self("inspect", name))["items"][0]["state"]
        return state

    def unit(self, name: str) -> str:
        """Return the name of a container's unit."""
        return unit_name(self.paths, name)

    def machine(self, name: str) -> str:
        """Return the name that machined has for a container."""
        return machine_name(self.paths, name)

    def folder(self, name: str) -> Path:
        """Return a container's folder."""
        return self.paths.workload(Kind.CONTAINER, name)

    def census(self) -> Census:
        """Count what its containers may leave on the host."""
        run = Path("/run/systemd")
        places = (Path("/etc/systemd/system"), SETTINGS_FOLDER, run / "nspawn", run / "machines", run / "transient")
        mine = (self.paths.workloads(Kind.CONTAINER), self.paths.run, *(place for place in places if place.is_dir()))
        # Loop devices are the machine's: others have theirs at the same time.
        return msgspec.structs.replace(take_census(cgroups=[unit_pattern(self.paths)], folders=mine), loops=frozenset())

    def clear(self) -> None:
        """Remove its containers."""
        if names := self("ps", "--all", "--quiet").split():
            self("delete", "--force", *names)


@pytest.fixture(scope="session")
def _shared_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    # An overlay cannot lie on another one, and a Debian is much for a file system in memory.
    root = Path(tempfile.mkdtemp(prefix="tests-", dir="/var/lib/volt"))
    Volt(root).images.import_(DEBIAN, "debian")
    yield Instance(root)
    fs.remove_tree(root)


@pytest.fixture
def instance(_shared_instance: Instance) -> Iterator[Instance]:
    """An instance with the image ``debian``, which boots; without containers."""
    yield _shared_instance
    _shared_instance.clear()


@pytest.fixture(scope="session")
def _scripted_installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This installation's core as a build without a compiler would have made it, to be found before it."""
    folder = tmp_path_factory.mktemp("scripted")
    programs = shutil.ignore_patterns("_bin", "_native*")
    shutil.copytree(Path(volt_core.__file__).parent, folder / "volt_core", ignore=programs)
    return folder


@pytest.fixture
def scripted(instance: Instance, _scripted_installation: Path, busybox_root: Path) -> Instance:
    """The instance, with Volt as it is without a compiler, and with the image ``busybox`` too."""
    without = Instance(instance.root, {"PYTHONPATH": str(_scripted_installation)})
    without("image", "import", str(busybox_root), "busybox")
    return without
