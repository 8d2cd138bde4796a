"""The five distributions agree with each other and with the docs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import volt_core

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
by_name = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)


def load(directory: Path) -> dict:
    return tomllib.loads((directory / "pyproject.toml").read_text())


def test_there_are_four_plugins():
    assert [path.name for path in PLUGINS] == ["volt_cas", "volt_nspawn", "volt_proot", "volt_qemu"]


@by_name
def test_plugin_has_the_version_of_the_core(plugin):
    project = load(plugin)["project"]
    assert project["version"] == volt_core.__version__
    major, minor = map(int, volt_core.__version__.split(".")[:2])
    assert f"volt-core>={major}.{minor},<{major}.{minor + 1}" in project["dependencies"]


@by_name
def test_plugin_has_all_its_parts(plugin):
    name = plugin.name
    assert load(plugin)["project"]["entry-points"]["volt"] == {name.removeprefix("volt_"): f"{name}.plugin"}
    for part in ("README.md", "CHANGELOG.md", "LICENSE", f"src/{name}/py.typed", f"src/{name}/plugin.py", "tests"):
        assert (plugin / part).exists(), part


@by_name
def test_plugin_bans_every_other_plugin_by_lint(plugin):
    banned = load(plugin)["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == {"subprocess"} | {other.name for other in PLUGINS} - {plugin.name}


@by_name
def test_plugin_is_checked_by_mypy(plugin):
    tool = load(ROOT)["tool"]["mypy"]
    assert tool["strict"] is True
    assert f"plugins/{plugin.name}/src" in tool["files"]


def test_every_dependency_has_its_reason():
    project = load(ROOT)["project"]
    plugins = [line for plugin in PLUGINS for line in load(plugin)["project"]["dependencies"]]
    names = {re.split(r"[<>=\[]", line)[0] for line in [*project["dependencies"], *plugins]} - {"volt-core"}
    text = (ROOT / "docs/dependencies.md").read_text()
    assert not {name for name in names if f"| `{name}` |" not in text}


def test_licence_is_the_same_everywhere():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert all((plugin / "LICENSE").read_text() == text for plugin in PLUGINS)
