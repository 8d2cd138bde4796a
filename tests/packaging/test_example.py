"""The example of a plugin: its wheel beside Volt's own, as a stranger's would be."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from .conftest import ROOT, Dist, call

pytestmark = pytest.mark.packaging
EXAMPLE = ROOT / "examples/volt_bwrap"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("example")
    # A copy: a build leaves files in the sources.
    shutil.copytree(EXAMPLE, base / "tree", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    call([sys.executable, "-m", "build", "--wheel", "--outdir", base / "dist", base / "tree"])
    (found,) = (base / "dist").iterdir()
    return found


def test_the_wheel_has_every_module_and_nothing_else(wheel: Path) -> None:
    inside = {path for path in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in path}
    sources = EXAMPLE / "src"
    wanted = {path.relative_to(sources).as_posix() for path in sources.glob("volt_bwrap/*") if path.is_file()}
    assert inside == wanted


@pytest.mark.needs_bwrap
@pytest.mark.needs_native
def test_installed_beside_volt_it_runs_a_container(dist: Dist, wheel: Path, busybox_root: Path, tmp_path: Path) -> None:
    call([sys.executable, "-m", "venv", tmp_path / "venv"])
    volts = [dist.wheel("volt_core"), dist.wheel("volt_cas")]
    call([tmp_path / "venv/bin/pip", "install", "--quiet", *volts, wheel])
    volt, root = tmp_path / "venv/bin/volt", str(tmp_path / "root")
    assert "backend bwrap" in call([volt, "plugin", "list"], VOLT_ROOT=root)
    call([volt, "image", "import", busybox_root, "box"], VOLT_ROOT=root)
    said = call([volt, "run", "--rm", "box", "sh", "-c", "echo hello from $$"], VOLT_ROOT=root)
    assert said == "hello from 2\n"
    call([volt, "run", "-d", "--name", "web", "--backend", "bwrap", "box", "sleep", "1000"], VOLT_ROOT=root)
    try:
        assert call([volt, "exec", "web", "hostname"], VOLT_ROOT=root) == "web\n"
    finally:
        call([volt, "delete", "--force", "web"], VOLT_ROOT=root)
    assert "nothing damaged" in call([volt, "cas", "verify"], VOLT_ROOT=root)
