"""A plugin of each kind, as its author and its users meet it: written, built, installed beside Volt, tested, used."""

from __future__ import annotations

import json
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import Dist, call

pytestmark = pytest.mark.packaging
NAMES = {
    "backend": "own-box",
    "store": "own-trees",
    "source": "own-tars",
    "section": "own-jobs",
    "command": "own-hello",
}
each = pytest.mark.parametrize("kind", NAMES)


@dataclass(frozen=True)
class Made:
    """The distributions in a directory, and a virtual environment with their wheels, Volt's and what tests need."""

    folder: Path
    venv: Path

    def tree(self, kind: str) -> Path:
        return self.folder / f"volt-{NAMES[kind]}"

    def volt(self, *words: str | Path, root: Path, ok: bool = True, **extra: str) -> str:
        return call([self.venv / "bin/volt", *words], ok=ok, VOLT_ROOT=str(root), **extra)


@pytest.fixture(scope="module")
def made(dist: Dist, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Volt comes first: its wheel has to have the templates."""
    base = tmp_path_factory.mktemp("made")
    result = Made(base, base / "venv")
    pip = result.venv / "bin/pip"
    call([sys.executable, "-m", "venv", result.venv])
    call([pip, "install", "--quiet", dist.wheel("volt_core"), dist.wheel("volt_cas")])
    for kind, name in NAMES.items():
        said = result.volt("plugin", "new", name, "--kind", kind, "--directory", base, root=base / "root")
        assert said.startswith(f"{result.tree(kind)}\n")
    call([pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", base / "wheels", *map(result.tree, NAMES)])
    wheels = sorted((base / "wheels").iterdir())
    assert len(wheels) == len(NAMES)
    call([pip, "install", "--quiet", "pytest>=8.3", *wheels])
    return result


AT_LENGTH = "not (b26 or b28 or b29)"
"""Hostile words, many callers at once and killed ones meet the base class, which the kit tests under proot."""


@each
def test_its_own_tests_pass(made, kind, busybox_root):
    pytest_argv = [made.venv / "bin/python", "-m", "pytest", "-p", "no:cacheprovider", "-rs"]
    said = call([*pytest_argv, *(["-k", AT_LENGTH] if kind == "backend" else [])], cwd=made.tree(kind))
    assert " passed" in said
    assert not [line for line in said.splitlines() if line.startswith("SKIPPED") and "lacks the facet" not in line]


@each
def test_its_code_is_clean(made, kind, tmp_path_factory):
    tree = made.tree(kind)
    ruff = [Path(sys.executable).with_name("ruff")]
    call([*ruff, "check", "--no-cache", "."], cwd=tree)
    call([*ruff, "format", "--no-cache", "--check", "."], cwd=tree)
    cache = tmp_path_factory.getbasetemp() / "mypy"
    mypy = [sys.executable, "-m", "mypy", "--python-executable", made.venv / "bin/python", "--cache-dir", cache]
    call(mypy, cwd=tree)


def test_the_list_shows_them(made, tmp_path):
    items = json.loads(made.volt("plugin", "list", "--json", root=tmp_path))["items"]
    plugins = {item["name"]: item for item in items}
    assert {plugins[name]["state"] for name in NAMES.values()} == {"ok"}
    assert plugins["own-box"]["capabilities"] == {"own-box": ["attach", "exec", "stats"]}
    rows = made.volt("plugin", "list", root=tmp_path)
    for provided in ("backend own-box", "store own-trees", "images own-tars", "compose own_jobs", "commands own-hello"):
        assert provided in rows


def test_containers_run_in_a_new_backend(made, busybox_root, tmp_path):
    made.volt("image", "import", busybox_root, "box", root=tmp_path)
    words = ("run", "--backend", "own-box", "--name", "one", "box", "sh", "-c", "echo hello; cat; exit 7")
    assert made.volt(*words, root=tmp_path, ok=False) == "hello\n"
    assert made.volt("logs", "one", root=tmp_path) == "hello\n"
    assert made.volt("wait", "one", root=tmp_path) == "7\n"
    made.volt("run", "--detach", "--backend", "own-box", "--name", "two", "box", "sleep", "60", root=tmp_path)
    assert made.volt("exec", "two", "ls", "/bin/busybox", root=tmp_path) == "/bin/busybox\n"
    made.volt("delete", "--force", "one", "two", root=tmp_path)
    assert made.volt("ps", "--all", "--quiet", root=tmp_path) == ""
    (tmp_path / "shared").mkdir()
    volume = ("-v", f"{tmp_path / 'shared'}:/mine")
    made.volt("run", "--rm", "--backend", "own-box", *volume, "box", "touch", "/mine/made", root=tmp_path)
    assert (tmp_path / "shared/made").exists()
    refused = made.volt("run", "--backend", "own-box", "--memory", "9M", "box", "true", root=tmp_path, ok=False)
    assert "backend 'own-box' has no 'limits'" in refused


def test_a_new_store_keeps_trees(made, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "hello").write_text("world")
    root = tmp_path / "root"
    made.volt("cas", "build", source, "--ref", "greetings", root=root, VOLT_STORE="own-trees")
    assert made.volt("cas", "cat", "greetings", "hello", root=root, VOLT_STORE="own-trees") == "world"
    made.volt("cas", "checkout", "greetings", tmp_path / "copy", root=root, VOLT_STORE="own-trees")
    assert (tmp_path / "copy/hello").read_text() == "world"
    assert "nothing damaged" in made.volt("cas", "verify", root=root, VOLT_STORE="own-trees")
    (copied,) = root.glob("lib/cas/trees/*/copy/hello")
    assert copied.read_text() == "world"


def test_a_new_source_fetches_images(made, busybox_root, tmp_path):
    releases = {"VOLT_OWN_TARS_DIRECTORY": str(tmp_path / "releases")}
    (tmp_path / "releases").mkdir()
    with tarfile.open(tmp_path / "releases/1.0.tar.gz", "w:gz") as archive:
        archive.add(busybox_root, ".")
    root = tmp_path / "root"
    made.volt("image", "pull", "own-tars:1.0", root=root, **releases)
    image = json.loads(made.volt("image", "inspect", "own-tars:1.0", root=root))
    assert image["config"]["Cmd"] == ["/bin/sh"]
    assert image["files"] > 3
    assert "has no release '2.0'" in made.volt("image", "pull", "own-tars:2.0", root=root, ok=False, **releases)


def test_a_new_section_is_known(made, tmp_path):
    code = "from volt_core.api import Volt; print(Volt().plugins.sections()['own_jobs'].__name__)"
    assert call([made.venv / "bin/python", "-c", code], VOLT_ROOT=str(tmp_path)) == "OwnJobsSection\n"


def test_a_new_command_says_hello(made, tmp_path):
    assert "own-hello  Say hello." in made.volt("--help", root=tmp_path)
    assert made.volt("own-hello", "hello", "Ann", root=tmp_path).startswith("Hello, Ann!")
    assert json.loads(made.volt("own-hello", "hello", "--json", root=tmp_path))["who"] == "world"
