"""What is carried out without typer does what it does with it; ``--`` makes a command go the usual way."""

from __future__ import annotations

import importlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from volt_core.cli.entry import FLAG, NAMES, Entry
from volt_core.cli.lazy import load_command
from volt_core.cli.plain import find_plain
from volt_core.cli.tables import GROUPS, TOP
from volt_core.plugins import Plugins

_NOWHERE = os.path.join(os.devnull, "nowhere")
_WORDS = {NAMES: "web", "text": "some", "path": "some"}
_BEHIND = {FLAG: [], "text": ["some"], "seconds": ["1"]}


def plain_commands() -> Iterator[tuple[tuple[str, ...], Entry]]:
    """Yield all words that begin a plain command, with its entry."""
    tables = {(): TOP, **{(name,): table for name, table in GROUPS.items()}}
    for group in Plugins(Path(_NOWHERE), {}).command_groups():
        if group.table:
            module, _, attribute = group.table.partition(":")
            tables[group.name,] = getattr(importlib.import_module(module), attribute)
    for prefix, table in tables.items():
        for name, entry in table.items():
            if entry.plain:
                yield (*prefix, name), entry


PLAIN = dict(plain_commands())


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look for a plugin's commands leaves a cache in the instance: these tests have none."""
    monkeypatch.setenv("VOLT_ROOT", _NOWHERE)


def test_those_that_people_wait_for_are_there():
    wanted = {("start",), ("container", "stop"), ("rm",), ("image", "import"), ("cas", "build"), ("cas", "gc")}
    assert wanted <= PLAIN.keys()


@pytest.mark.parametrize("words", PLAIN, ids=" ".join)
def test_a_plain_command_looks_as_typer_says(words):
    """Else one of the two would take what the other refuses, or take it for something else."""
    plain = PLAIN[words].plain
    command = load_command(words[-1], PLAIN[words])
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    assert len(arguments) == len(plain.words)
    assert [parameter.nargs == -1 for parameter in arguments] == [kind == NAMES for kind in plain.words]
    options = {name: parameter for parameter in command.params for name in parameter.opts}
    for name, kind in plain.options.items():
        assert options[name].is_flag == (kind == FLAG)
        assert not options[name].multiple


@pytest.mark.parametrize("words", PLAIN, ids=" ".join)
def test_every_word_in_its_place_is_plain(words):
    plain = PLAIN[words].plain
    options = [word for name, kind in plain.options.items() for word in (name, *_BEHIND[kind])]
    whole = [*words, *(_WORDS[kind] for kind in plain.words), *options]
    assert find_plain(whole) is not None
    assert find_plain(["--root", _NOWHERE, *whole]) is not None
    assert find_plain([*words, *options, *(_WORDS[kind] for kind in plain.words)]) is not None
    for other in ([*whole, "--help"], [*whole, "-h"], [*whole, ""], [*whole, "--"], ["--", *whole], [*whole, "--bad"]):
        assert find_plain(other) is None
    assert plain.words == (NAMES,) or find_plain([*whole, "more"]) is None
    assert not plain.words or find_plain([*words, *options]) is None
    for name in plain.options:
        assert find_plain([*whole, name]) is None


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--root",),
        ("--root", "/x"),
        ("--root=/x", "start", "web"),
        ("container",),
        ("container", "start"),
        ("container", "rm", "web"),
        ("start", "Web"),
        ("stop", "-t", "1", "web"),
        ("stop", "web", "--timeout"),
        ("stop", "web", "--timeout", "--force"),
        ("stop", "web", "--timeout=1"),
        ("stop", "web", "--timeout", "-1"),
        ("stop", "web", "--timeout", "nan"),
        ("stop", "web", "--timeout", "1e30"),
        ("kill", "web"),
        ("image", "delete", "web"),
        ("cas",),
        ("cas", "status"),
        ("cas", "verify", "--repair"),
        ("cas", "gc", "--keep-last", "1"),
        ("bench", "cas"),
        ("nonsense", "web"),
    ],
    ids=" ".join,
)
def test_all_else_goes_the_usual_way(words):
    assert find_plain(words) is None


def test_a_life_is_the_same_either_way(box):
    def life(*dashes):
        yield box("create", "--name", "a", "box", "sleep", "1000")
        yield box("container", "create", "--name", "b", "box", "sleep", "1000")
        for verb in ("start", "start", "freeze", "thaw", "restart", "delete", "stop", "stop", "rm"):
            yield box(verb, *dashes, "a", "none", "b")
        yield box("workload", "start", *dashes, "a")

    assert list(life()) == list(life("--"))


def test_the_store_is_the_same_either_way(volt, tmp_path):
    """The way is one for a whole round, so that both find the store as the other did."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("content")
    (tree / "pipe").symlink_to("file")

    def round_of(number, *dashes):
        target = tmp_path / f"out-{number}"
        yield volt("cas", "build", str(tree), "--ref", "a", *dashes)
        yield volt("cas", "build", str(tree), "--json", *dashes)
        yield volt("cas", "build", str(tree), "--ref", "use/a", *dashes)
        yield volt("cas", "build", str(tmp_path / "none"), *dashes)
        yield volt("cas", "checkout", "a", str(target), *dashes)
        yield os.listdir(target)
        yield volt("cas", "checkout", "--link", "--copy", *dashes, "a", str(tmp_path / "other"))
        yield volt("cas", "checkout", "none", str(tmp_path / "other"), *dashes)
        yield volt("cas", "verify", "--json", *dashes)
        yield volt("cas", "gc", "--dry-run", *dashes)
        yield volt("image", "import", str(tree), "box", *dashes)
        yield volt("image", "import", "--quiet", *dashes, str(tree), "box:other")
        yield volt("image", "import", str(tmp_path / "none"), "box", *dashes)
        yield volt("image", "delete", "box", "box:other")
        yield volt("cas", "rm", "a")
        yield volt("cas", "gc", "--json", "--grace", "0", *dashes)
        yield volt("cas", "gc", *dashes)

    assert list(round_of(1)) == list(round_of(2, "--"))


@pytest.mark.parametrize("words", [("start", "none"), ("cas", "checkout", "none", "nowhere")], ids=" ".join)
def test_it_does_without_typer(volt, words):
    code = (
        "import sys; from volt_core.cli.exits import run_app; run_app(sys.argv[1:]); sys.exit('typer' in sys.modules)"
    )
    argv = [*volt.argv()[:1], "-P", "-c", code]
    for given, status in ((words, 0), ((*words, "--"), 1)):
        done = subprocess.run([*argv, *given], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr[:7]) == (status, b"Error: "), done


def test_a_table_that_cannot_be_loaded_costs_nothing(site):
    site.install(
        "hurt",
        """
        from volt_core.hookspecs import hookimpl
        from volt_core.models.extension import CommandGroup

        @hookimpl
        def volt_register_commands():
            return [CommandGroup(name="hurt", help="Hurt.", target="acme_hurt_app:app", table="nowhere:TABLE")]
        """,
    )
    (site.folder / "acme_hurt_app.py").write_text(
        "from volt_core.cli.lazy import new_app\napp = new_app()\n"
        "@app.callback()\ndef group(): 'Hurt.'\n@app.command()\ndef greet(): print('hello')\n"
    )
    done = site.volt("hurt", "greet")
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
