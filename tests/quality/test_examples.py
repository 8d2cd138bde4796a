"""The example plugins are what a stranger could have written: they import what is promised, and nobody imports them."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_imports import find_imports

ROOT = Path(__file__).parents[2]
NAMES = frozenset({"volt_core.API_VERSION", "volt_core.__version__"})


def load_public() -> frozenset[str]:
    """Return the modules that H-8 of docs/hooks.md lists; a test of their own holds both lists together."""
    spec = importlib.util.spec_from_file_location("tools_api", ROOT / "tools/api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return frozenset(module.PUBLIC)


PUBLIC = load_public()


def may_import(name: str) -> bool:
    module = name.rpartition(".")[0]
    return name in PUBLIC | NAMES or (module in PUBLIC and module != "volt_core")


def find_violations(root: Path) -> Iterator[str]:
    """Yield ``file:line: name`` of what the examples may not import, and of what imports an example."""
    examples = {path.name for path in root.glob("examples/*/src/*") if path.is_dir()}
    for top in ("volt_core", "plugins", "examples", "tests", "benchmarks", "tools"):
        for path in sorted((root / top).rglob("*.py")):
            where = path.relative_to(root).as_posix()
            for line, name in find_imports(path.read_text("utf-8"), ""):
                first = name.partition(".")[0]
                if top != "examples":
                    wrong = first in examples
                elif name.startswith("volt_core.testing"):
                    wrong = "/src/" in where
                elif first == "volt_core":
                    wrong = not may_import(name)
                else:
                    wrong = first.startswith("volt_") and first != path.relative_to(root).parts[1]
                if wrong:
                    yield f"{where}:{line}: {name}"


def test_examples_import_what_is_promised_and_nobody_imports_them() -> None:
    assert list(find_violations(ROOT)) == []


def test_the_example_has_all_its_parts() -> None:
    example = ROOT / "examples/volt_bwrap"
    for part in ("README.md", "CHANGELOG.md", "src/volt_bwrap/py.typed", "src/volt_bwrap/backend.py", "tests"):
        assert (example / part).exists(), part
    assert (example / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    settings = tomllib.loads((example / "pyproject.toml").read_text())
    assert settings["project"]["entry-points"]["volt"] == {"bwrap": "volt_bwrap.plugin"}
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert "examples/volt_bwrap/src" in tools["mypy"]["files"]
    assert "examples" in tools["pytest"]["ini_options"]["testpaths"]


@pytest.mark.parametrize(
    ("where", "source", "is_wrong"),
    [
        ("examples/volt_x/src/volt_x/a.py", "from volt_core.supervisor.client import Supervised", True),
        ("examples/volt_x/src/volt_x/a.py", "from volt_core import native", True),
        ("examples/volt_x/src/volt_x/a.py", "import volt_core.processes", True),
        ("examples/volt_x/src/volt_x/a.py", "from volt_core.testing.fakes import MemoryStore", True),
        ("examples/volt_x/src/volt_x/a.py", "from volt_proot.binds import ROOT", True),
        ("volt_core/api.py", "import volt_x.backend", True),
        ("plugins/volt_proot/src/volt_proot/a.py", "def f():\n    from volt_x import backend", True),
        ("tests/test_a.py", "from volt_x.backend import X", True),
        ("examples/volt_x/src/volt_x/a.py", "from volt_core import API_VERSION, run\nimport volt_x.b", False),
        ("examples/volt_x/src/volt_x/a.py", "from volt_core.contracts import Backend", False),
        ("examples/volt_x/tests/test_a.py", "from volt_core.testing.fakes import MemoryStore", False),
    ],
)
def test_a_violation_is_found(tmp_path: Path, where: str, source: str, is_wrong: bool) -> None:
    (tmp_path / "examples/volt_x/src/volt_x").mkdir(parents=True)
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).write_text(source)
    assert bool(list(find_violations(tmp_path))) is is_wrong
