"""Who may import what, read from the sources: the core knows no plugin, a plugin knows the core only.

Ruff's banned-api rule says the same of ``subprocess`` and of the plugins where it can; this test also has the rules
that depend on the file, and finds imports inside functions and by :func:`importlib.import_module`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

KERNEL = frozenset("contracts hookspecs models errors names paths run state fs processes config plugins".split())
"""What plugins may build on; it imports no other room of the core."""

COMMANDS = ("volt_core/cli/*", "plugins/*/commands.py", "plugins/*/*_commands.py", "plugins/*/commands/*")
ONLY_IN = {
    "subprocess": ("volt_core/run.py",),
    "typer": COMMANDS,
    "click": COMMANDS,
    "rich": COMMANDS,
    "ruamel": ("volt_core/config.py", "volt_core/config/*", "volt_core/compose/*"),
    "yaml": (),
    "jeepney": ("volt_core/systemd/*",),
    "cffi": ("volt_core/native/extension.py",),
}
"""Modules that cost start-up time or open a gate, and the files that may import them."""


def find_imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every module that `source`, a module of `package`, imports."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package.split(".")[: len(package.split(".")) + 1 - level] if level else []
                base = ".".join([*above, *([module] if module else [])])
                # "from volt_core import images" imports volt_core.images.
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def modules(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield every module of the core and of the plugins with the name of the package it is in."""
    for top in [root / "volt_core", *sorted(root.glob("plugins/*/src"))]:
        base = root if top.name == "volt_core" else top
        for path in sorted(top.rglob("*.py")):
            yield path, ".".join(path.relative_to(base).parent.parts)


def find_violations(root: Path) -> list[str]:
    """Return ``file:line: what is wrong`` for each import that the rules forbid."""
    plugins = {path.name for path in root.glob("plugins/*/src/*") if path.is_dir()}
    found = []
    for path, package in modules(root):
        where = path.relative_to(root).as_posix()
        room = package.split(".")[1] if "." in package else path.stem
        own = package.split(".")[0]
        for line, name in find_imports(path.read_text(), package):
            top, second, *_ = [*name.split("."), ""]
            wrong = None
            if top in plugins and top != own:
                who = (
                    "the core knows no plugin"
                    if own == "volt_core"
                    else "a plugin imports volt_core and no other plugin"
                )
                wrong = f"{who}: goes through the registry"
            elif own == "volt_core" and room in KERNEL and top == "volt_core":
                if second not in KERNEL and not (second.startswith("__") or second == "API_VERSION"):
                    wrong = f"'{room}' is of the kernel, which imports no other room of the core"
            elif top in ONLY_IN and not any(fnmatch(where.replace("/src/" + own, ""), ok) for ok in ONLY_IN[top]):
                wrong = f"allowed only in {', '.join(ONLY_IN[top]) or 'no file'}"
            if wrong:
                found.append(f"{where}:{line}: imports '{name}': {wrong}")
    return found


def test_imports_keep_the_rules():
    found = find_violations(ROOT)
    assert not found, "\n" + "\n".join(found)


def test_every_room_of_the_kernel_exists():
    # A renamed room would leave the rule behind, with nothing to hold to it.
    present = {path.stem for path in (ROOT / "volt_core").iterdir()}
    assert present >= KERNEL


@pytest.mark.parametrize(
    ("where", "source", "complaint"),
    [
        ("volt_core/images/pull.py", "import volt_cas.tree", "the core knows no plugin"),
        ("volt_core/cli/app.py", "def f():\n    from volt_proot import backend", "the core knows no plugin"),
        ("volt_core/cli/app.py", "import importlib\nimportlib.import_module('volt_proot')", "the core knows no plugin"),
        ("plugins/volt_proot/src/volt_proot/backend.py", "from volt_cas.tree import Tree", "no other plugin"),
        ("volt_core/state.py", "from volt_core import images", "imports no other room"),
        ("volt_core/contracts/store.py", "from volt_core.cli.render import table", "imports no other room"),
        ("volt_core/models/image.py", "from ..images import pull", "imports no other room"),
        ("volt_core/processes.py", "from volt_core.supervisor import model", "imports no other room"),
        ("volt_core/supervisor/main.py", "import subprocess", "allowed only in volt_core/run.py"),
        ("plugins/volt_cas/src/volt_cas/objects.py", "from subprocess import run", "allowed only in volt_core/run.py"),
        ("volt_core/doctor.py", "import typer", "allowed only in volt_core/cli"),
        ("plugins/volt_cas/src/volt_cas/store.py", "from rich.table import Table", "allowed only in volt_core/cli"),
        ("volt_core/images/pull.py", "import yaml", "allowed only in no file"),
        ("volt_core/network.py", "from ruamel.yaml import YAML", "allowed only in volt_core/config.py"),
        ("volt_core/events.py", "import jeepney", "allowed only in volt_core/systemd"),
    ],
)
def test_a_violation_is_found(tmp_path, where, source, complaint):
    plant(tmp_path, where, "\n" + source)
    (found,) = find_violations(tmp_path)
    assert found.startswith(f"{where}:{1 + len(source.splitlines())}: ")
    assert complaint in found


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("volt_core/run.py", "import subprocess"),
        ("volt_core/state.py", "from volt_core import __version__\nfrom volt_core.fs import lock"),
        ("volt_core/models/image.py", "from .mount import Mount\nfrom ..names import check_name"),
        ("volt_core/cli/workload.py", "import typer\nfrom rich.table import Table\nfrom volt_core.images import pull"),
        ("plugins/volt_cas/src/volt_cas/commands.py", "import typer\nimport volt_cas.tree\nimport volt_core.images"),
    ],
)
def test_what_is_allowed_is_left_alone(tmp_path, where, source):
    plant(tmp_path, where, source)
    assert find_violations(tmp_path) == []


def plant(root: Path, where: str, source: str) -> None:
    """Write a tree with both kinds of package and one module of its own."""
    for name in ("volt_cas", "volt_proot"):
        (root / "plugins" / name / "src" / name).mkdir(parents=True)
    path = root / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
