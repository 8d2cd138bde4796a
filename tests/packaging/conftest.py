"""One build of all five distributions, shared by the tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ("volt_cas", "volt_nspawn", "volt_proot", "volt_qemu")
PATIENCE = 300
"""Seconds for anything that asks the package index."""
# Found before a test has another HOME: downloading everything anew for each test would take minutes.
PIP_CACHE = os.environ.get("PIP_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pip")


@dataclass(frozen=True)
class Dist:
    """The sdists of all five and the wheels built from these sdists, by the tree as it was then."""

    folder: Path
    sources: frozenset[str]

    def sdist(self, name: str) -> Path:
        (found,) = self.folder.glob(f"{name}-*.tar.gz")
        return found

    def wheel(self, name: str) -> Path:
        (found,) = self.folder.glob(f"{name}-*.whl")
        return found


def clean_environment(**extra: str) -> dict[str, str]:
    """Return the caller's environment without what would lead back to this tree; its pip settings stay."""
    dropped = ("VOLT_", "PYTHON", "VIRTUAL_ENV", "CC")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "PIP_CACHE_DIR": str(PIP_CACHE), **extra}


def call(argv: Sequence[str | Path], *, cwd: Path | str = "/", ok: bool = True, **extra: str) -> str:
    """Run a program away from this tree; return what it said, on both streams."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=clean_environment(**extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode == 0) is ok, f"{argv} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def copy_tree(to: Path) -> Path:
    """Copy the sources, without anything that an earlier build left among them."""
    call(["sh", ROOT / "tools/export-tree.sh", to])
    return to


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    """Built from a copy of the tree, which is gone afterwards."""
    base = tmp_path_factory.mktemp("build")
    tree = copy_tree(base / "tree")
    sources = frozenset(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())
    for part in (".", *(f"plugins/{name}" for name in PLUGINS)):
        call([sys.executable, "-m", "build", "--outdir", base / "dist", part], cwd=tree)
    shutil.rmtree(tree)
    return Dist(base / "dist", sources)


@pytest.fixture(scope="session")
def installed(dist: Dist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the five wheels and what they need, and nothing else."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    call([sys.executable, "-m", "venv", venv])
    call([venv / "bin/pip", "install", "--quiet", *sorted(dist.folder.glob("*.whl"))])
    return venv


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A copy of the sources for ./dev to work in; removed at once, with the virtual environment in it."""
    yield copy_tree(tmp_path / "tree")
    shutil.rmtree(tmp_path / "tree", ignore_errors=True)
