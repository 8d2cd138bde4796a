"""Sdists and wheels of all five: complete, installable without this tree and without a compiler."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import volt_core

from .conftest import PLUGINS, ROOT, call

pytestmark = pytest.mark.packaging
VERSION = volt_core.__version__
COMPILERS = ("gcc", "cc")


def test_each_distribution_has_an_sdist_and_a_wheel(dist):
    for name in ("volt_core", *PLUGINS):
        assert dist.sdist(name).name == f"{name}-{VERSION}.tar.gz"
        assert dist.wheel(name).name.startswith(f"{name}-{VERSION}-")


@pytest.mark.parametrize("name", ["volt_core", *PLUGINS])
def test_wheel_has_every_module_and_nothing_else(dist, name):
    above = "" if name == "volt_core" else f"plugins/{name}/src/"
    sources = {path.removeprefix(above) for path in dist.sources if path.startswith(f"{above}{name}/")}
    inside = {path for path in zipfile.ZipFile(dist.wheel(name)).namelist() if ".dist-info/" not in path}
    assert sources - inside == set()
    made = ("volt_core/_bin/", "volt_core/_native.", "volt_core/testing/docs/")
    assert {path for path in inside - sources if not path.startswith(made)} == set()


def test_wheel_of_the_core_has_the_promises_that_its_tests_quote(dist):
    wheel = zipfile.ZipFile(dist.wheel("volt_core"))
    pages = [path for path in dist.sources if path.startswith("docs/") and path.endswith("-contract.md")]
    assert len(pages) == 3
    for page in pages:
        assert wheel.read(f"volt_core/testing/{page}") == (ROOT / page).read_bytes()


def test_sdist_of_the_core_has_all_that_a_build_needs(dist):
    with tarfile.open(dist.sdist("volt_core")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    needed = {"pyproject.toml", "setup.py", "LICENSE", "README.md"}
    assert needed | {path for path in dist.sources if path.startswith("csrc/")} <= names


@pytest.mark.needs_native
def test_wheel_of_the_core_is_native(dist):
    wheel = dist.wheel("volt_core")
    assert "-cp311-abi3-" in wheel.name
    assert "volt_core/_native.abi3.so" in zipfile.ZipFile(wheel).namelist()


def test_installed_volt_works_without_the_tree(installed, tmp_path):
    assert VERSION in call([installed / "bin/volt", "--version"])
    listed = call([installed / "bin/volt", "plugin", "list"], VOLT_ROOT=str(tmp_path))
    assert all(name.removeprefix("volt_") in listed for name in PLUGINS)
    where = call(
        [installed / "bin/python", "-c", "import volt_core, volt_cas; print(volt_core.__file__, volt_cas.__file__)"]
    )
    assert all(path.startswith(str(installed)) for path in where.split())


@pytest.mark.needs_proot
def test_installed_volt_runs_a_container(installed, busybox_root, tmp_path):
    volt, root = installed / "bin/volt", str(tmp_path / "root")
    call([volt, "image", "import", busybox_root, "box"], VOLT_ROOT=root)
    said = call([volt, "run", "--rm", "box", "sh", "-c", "echo hello from $0; exit 0"], VOLT_ROOT=root)
    assert said == "hello from sh\n"
    assert "nothing damaged" in call([volt, "cas", "verify"], VOLT_ROOT=root)


def test_core_alone_says_what_is_missing(dist, tmp_path):
    call([sys.executable, "-m", "venv", tmp_path / "venv"])
    call([tmp_path / "venv/bin/pip", "install", "--quiet", dist.wheel("volt_core")])
    volt = tmp_path / "venv/bin/volt"
    assert VERSION in call([volt, "--version"])
    assert "Commands of plugins" not in call([volt, "--help"])
    root = str(tmp_path / "root")
    assert "broken" not in call([volt, "plugin", "list"], VOLT_ROOT=root)
    assert "Install volt-nspawn or volt-proot" in call([volt, "doctor"], ok=False, VOLT_ROOT=root)
    assert "Install the distribution volt-cas" in call([volt, "image", "list"], ok=False, VOLT_ROOT=root)


@pytest.fixture
def no_compiler(tmp_path: Path) -> str:
    """A PATH with every program of this one but the compilers."""
    for directory in ("/bin", "/usr/bin"):
        for program in Path(directory).iterdir():
            name = program.name
            link = tmp_path / "bin" / name
            if not any(word in name for word in (*COMPILERS, "c99", "c89", "clang", "tcc")) and not link.is_symlink():
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(program)
    return str(tmp_path / "bin")


def test_without_a_compiler_the_python_code_serves(dist, installed, no_compiler, tmp_path):
    sdist = dist.sdist("volt_core")
    call([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "pure", sdist], PATH=no_compiler)
    (wheel,) = (tmp_path / "pure").iterdir()
    assert wheel.name == f"volt_core-{VERSION}-py3-none-any.whl"
    call([installed / "bin/pip", "install", "-q", "--no-deps", "--target", tmp_path / "lib", wheel])
    code = "from volt_core import native; print(native.__file__, native.implementation())"
    path, implementation = call([installed / "bin/python", "-c", code], PYTHONPATH=str(tmp_path / "lib")).split()
    assert path.startswith(str(tmp_path / "lib"))
    assert implementation == "python"


def test_where_it_is_required_a_missing_compiler_fails_the_install(dist, no_compiler, tmp_path):
    sdist = dist.sdist("volt_core")
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "none", sdist]
    assert "VOLT_BUILD_NATIVE=require" in call(argv, ok=False, PATH=no_compiler, VOLT_BUILD_NATIVE="require")


@pytest.mark.needs_native
def test_where_it_is_required_a_warning_fails_the_install(dist, tmp_path):
    sdist = dist.sdist("volt_core")
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "none", sdist]
    said = call(argv, ok=False, CFLAGS="-Wdeclaration-after-statement", VOLT_BUILD_NATIVE="require")
    assert "Werror=declaration-after-statement" in said
