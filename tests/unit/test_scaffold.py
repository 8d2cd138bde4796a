"""A new plugin is written whole or not at all, under a name that nobody has."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from pathlib import Path

import pytest

import volt_core
from volt_core import run
from volt_core.errors import AlreadyExists, InvalidName, NotFoundError, UsageError
from volt_core.plugins import Plugins
from volt_core.plugins.discovery import PluginInfo
from volt_core.scaffold import KINDS, make, new_plugin
from volt_core.scaffold.make import class_of

COMMON = (
    ".github/workflows/test.yml",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "src/volt_my_thing/__init__.py",
    "src/volt_my_thing/plugin.py",
    "src/volt_my_thing/py.typed",
    "tests/test_plugin.py",
)
OWN = {
    "backend": ("src/volt_my_thing/backend.py", "tests/test_backend.py"),
    "store": (
        *(f"src/volt_my_thing/{name}.py" for name in ("archives", "differences", "directories", "refs", "store")),
        *(f"src/volt_my_thing/{name}.py" for name in ("whole_store", "whole_trees")),
        "tests/test_store.py",
    ),
    "source": ("src/volt_my_thing/source.py", "tests/test_source.py"),
    "section": ("src/volt_my_thing/section.py", "tests/test_section.py"),
    "command": ("src/volt_my_thing/commands.py", "tests/test_commands.py"),
}
TAKEN = """
    from volt_core.contracts import ComposeSection, ImageSource
    from volt_core.hookspecs import hookimpl
    from volt_core.models.extension import CommandGroup
    from volt_core.testing.fakes import DummyContainer, MemoryStore

    class Box(DummyContainer):
        NAME = "box"

    class Trees(MemoryStore):
        NAME = "trees"

    class Tars(ImageSource):
        NAME, SCHEMES = "tars", ("tape",)
        def probe(self): ...
        def fetch(self, request, ref, store, progress): ...

    class Jobs(ComposeSection):
        KEY, MODEL = "night_jobs", dict
        def plan(self, project, entries): ...

    @hookimpl
    def volt_register_backends(): return [Box]

    @hookimpl
    def volt_register_stores(): return [Trees]

    @hookimpl
    def volt_register_image_sources(): return [Tars]

    @hookimpl
    def volt_register_compose_sections(): return [Jobs]

    @hookimpl
    def volt_register_commands(): return [CommandGroup(name="greet", help="Greet.", target="nowhere:app")]
"""


@pytest.fixture
def plugins(shelf) -> Plugins:
    """Those of an environment with one plugin that provides something of everything, and a broken one."""
    shelf.add("acme", TAKEN)
    shelf.add("hurt", "import module_that_is_nowhere")
    return shelf.plugins()


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    path = tmp_path / "parent"
    path.mkdir()
    return path


def read(made: make.NewPlugin) -> dict[str, str]:
    return {name: (made.directory / name).read_text() for name in made.files}


def test_every_kind_has_its_files_here():
    assert OWN.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written(kind, parent, plugins):
    made = new_plugin("my-thing", kind, parent, plugins)
    assert (made.distribution, made.package, made.directory) == (
        "volt-my-thing",
        "volt_my_thing",
        parent / "volt-my-thing",
    )
    assert set(made.files) == {*COMMON, *OWN[kind]}
    there = {path.relative_to(made.directory).as_posix() for path in made.directory.rglob("*") if path.is_file()}
    assert there == set(made.files)
    assert list(parent.iterdir()) == [made.directory]
    files = read(made)
    for name, text in files.items():
        assert "tmpl" not in text
        assert "PACKAGE" not in text
        if name.endswith(".py"):
            compile(text, name, "exec")
        elif not name.startswith(".github"):
            assert "$" not in text, name
    assert f"VOLT_API_VERSION = {volt_core.API_VERSION}\n" in files["src/volt_my_thing/plugin.py"]
    assert "${{ matrix.python }}" in files[".github/workflows/test.yml"]
    product = "".join(text for name, text in files.items() if name.startswith("src/"))
    assert "volt_core.testing" not in product
    assert "fake" not in product


@pytest.mark.parametrize("kind", KINDS)
def test_the_distribution_declares_the_plugin(kind, parent, plugins):
    project = tomllib.loads(read(new_plugin("my-thing", kind, parent, plugins))["pyproject.toml"])["project"]
    major, minor = volt_core.API_VERSION
    assert project["name"] == "volt-my-thing"
    assert project["entry-points"] == {"volt": {"my-thing": "volt_my_thing.plugin"}}
    assert project["dependencies"] == [f"volt-core>={major}.{minor},<{major}.{minor + 1}"]


@pytest.mark.parametrize("name", ["x", "abcdefghij-abcdefghij-abcdefgh"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_code_keeps_its_own_settings_whatever_the_name(kind, name, parent, plugins):
    made = new_plugin(name, kind, parent, plugins)
    ruff = str(Path(sys.executable).with_name("ruff"))
    for words in (["check"], ["format", "--check"]):
        done = run.run([ruff, *words, "--no-cache", "."], cwd=made.directory, timeout=30, ok=(0, 1))
        assert done.status == 0, done.stdout.decode()


def test_files_have_the_modes_that_the_user_gives(parent, plugins):
    before = os.umask(0o027)
    try:
        made = new_plugin("thing", "command", parent, plugins)
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.directory.stat().st_mode) == 0o750
    assert stat.S_IMODE((made.directory / "README.md").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("lxc", "backend", "LxcBackend"),
        ("my-store", "store", "MyStore"),
        ("backend", "backend", "MyBackend"),  # not what it inherits from
        ("image", "source", "MyImageSource"),
        ("a1-b2", "section", "A1B2Section"),
    ],
)
def test_names_of_classes(name, kind, expected):
    assert class_of(name, kind) == expected


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        *[
            (name, "Use 1 to 30")
            for name in ("", "Lxc", "my_thing", "1st", "a--b", "-a", "a-", "a\n", "../a", "a.b", "é")
        ],
        ("a" * 31, "Use 1 to 30"),
        ("volt-lxc", "Leave out 'volt-'"),
    ],
)
def test_a_bad_name(name, hint, parent, plugins):
    with pytest.raises(InvalidName) as caught:
        new_plugin(name, "backend", parent, plugins)
    assert hint in str(caught.value)
    assert list(parent.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("acme", "it is the plugin of acme-acme 1.0"),
        ("hurt", "it is the plugin of acme-hurt 1.0"),
        ("box", "it is a backend of acme-acme 1.0"),
        ("trees", "it is a store of acme-acme 1.0"),
        ("tape", "it is an image source of acme-acme 1.0"),
        ("night-jobs", "it is a compose section of acme-acme 1.0"),
        ("greet", "it is a command of acme-acme 1.0"),
        ("core", f"it is the distribution volt-core {volt_core.__version__}"),
    ],
)
def test_a_taken_name(name, owner, parent, plugins):
    with pytest.raises(AlreadyExists) as caught:
        new_plugin(name, "store", parent, plugins)
    assert caught.value.brief == f"The name '{name}' is taken: {owner}"
    assert list(parent.iterdir()) == []


def test_a_command_of_the_core_is_taken_for_commands_alone(parent, plugins):
    with pytest.raises(AlreadyExists, match="it is a command of volt-core"):
        new_plugin("image", "command", parent, plugins, commands=("image",))
    new_plugin("image", "source", parent, plugins, commands=("image",))


def test_an_unknown_kind(parent, plugins):
    with pytest.raises(UsageError, match=r"Unknown kind of plugin 'stor'.*Known are backend, store"):
        new_plugin("thing", "stor", parent, plugins)


@pytest.mark.parametrize("there", ["directory", "file", "link"])
def test_what_is_there_is_left_alone(there, parent, plugins):
    path = parent / "volt-thing"
    if there == "directory":
        path.mkdir()
    elif there == "file":
        path.write_text("mine")
    else:
        path.symlink_to("nowhere")
    before = os.lstat(path)
    with pytest.raises(AlreadyExists, match="exists already"):
        new_plugin("thing", "store", parent, plugins)
    assert os.path.samestat(os.lstat(path), before)
    assert list(parent.iterdir()) == [path]


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_a_place_that_is_none(place, parent, plugins):
    (parent / "file").write_text("")
    with pytest.raises(NotFoundError, match="There is no directory"):
        new_plugin("thing", "store", parent / place, plugins)


@pytest.mark.parametrize("count", [0, 1, 5, "at the end"])
def test_ctrl_c_leaves_nothing(count, parent, plugins, monkeypatch):
    write, rename, written = Path.write_text, Path.rename, []

    def interrupted_write(self, *arguments, **options):
        if len(written) == count:
            raise KeyboardInterrupt
        written.append(self)
        return write(self, *arguments, **options)

    def interrupted_rename(self, target):
        if count == "at the end":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "write_text", interrupted_write)
    monkeypatch.setattr(Path, "rename", interrupted_rename)
    with pytest.raises(KeyboardInterrupt):
        new_plugin("thing", "store", parent, plugins)
    assert len(written) == (count if isinstance(count, int) else len(COMMON) + len(OWN["store"]))
    assert list(parent.iterdir()) == []


def test_somebody_else_was_faster(parent, plugins, monkeypatch):
    rename = Path.rename

    def late(self, target):
        target.mkdir()
        (target / "theirs").write_text("")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(AlreadyExists, match="exists already"):
        new_plugin("thing", "store", parent, plugins)
    assert [path.relative_to(parent).as_posix() for path in sorted(parent.rglob("*"))] == [
        "volt-thing",
        "volt-thing/theirs",
    ]


def test_a_dry_run_writes_nothing_and_says_the_same(parent, plugins):
    planned = new_plugin("thing", "store", parent, plugins, dry_run=True)
    assert list(parent.iterdir()) == []
    assert new_plugin("thing", "store", parent, plugins) == planned


@pytest.mark.parametrize("kind", KINDS)
def test_the_plugin_loads_and_provides_what_it_is_for(kind, parent, tmp_path, plugins, monkeypatch):
    made = new_plugin(f"own-{kind}", kind, parent, plugins)
    monkeypatch.syspath_prepend(made.directory / "src")
    info = PluginInfo(name=made.name, target=f"{made.package}.plugin", distribution=made.distribution, version="0.1.0")
    known = Plugins(tmp_path / "other", {}, builtin=(), discover=lambda: (info,))
    (loaded,) = known.load_all().values()
    provides = loaded.info.provides
    fields = {"backend": "backends", "store": "stores", "source": "schemes", "section": "sections"}
    expected = made.name.replace("-", "_") if kind == "section" else made.name
    given = tuple(group.name for group in provides.commands) if kind == "command" else getattr(provides, fields[kind])
    assert given == (expected,)
