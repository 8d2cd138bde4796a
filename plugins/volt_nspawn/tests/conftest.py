"""Containers on real systemd for the tests of this plugin."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from volt_core import fs
from volt_core.api import Volt
from volt_core.contracts import BackendContext
from volt_core.paths import VoltPaths
from volt_core.testing.census import Census, take_census
from volt_core.testing.command import Command
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.workbench import BackendKit, Workbench
from volt_nspawn.backend import NspawnBackend
from volt_nspawn.names import unit_name


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
