"""``volt plugin new``."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from volt_core import run
from volt_core.testing.command import Command


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "my plugins"
    path.mkdir()
    return path


def test_it_says_where_and_what_to_do_next(volt: Command, place: Path) -> None:
    said = volt("plugin", "new", "acme", "--kind", "command", "--directory", str(place))
    assert (said.status, said.out) == (0, f"{place}/volt-acme\n")
    assert f"cd '{place}/volt-acme'\n" in said.err
    assert "pip install --editable '.[testing]'\n" in said.err
    assert (place / "volt-acme/pyproject.toml").is_file()


def test_it_writes_to_the_current_directory(volt: Command, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert volt.ok("plugin", "new", "acme", "--kind", "store") == "volt-acme\n"
    assert (place / "volt-acme/src/volt_acme/store.py").is_file()


def test_a_dry_run_names_the_files(volt: Command, place: Path) -> None:
    words = ("plugin", "new", "acme", "--kind", "source", "--directory", str(place))
    listed = volt.ok(*words, "--dry-run").splitlines()
    assert f"{place}/volt-acme/src/volt_acme/source.py" in listed
    assert list(place.iterdir()) == []
    document = json.loads(volt.ok(*words, "--json"))
    assert document["schema"] == "volt.new-plugin.v1"
    assert [f"{document['directory']}/{name}" for name in document["files"]] == listed


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (("Acme", "--kind", "store"), 2, "Invalid plugin name 'Acme'. (Use 1 to 30 lower-case letters"),
        (
            ("acme", "--kind", "stor"),
            2,
            "Unknown kind of plugin 'stor'. (Known are backend, store, source, section, command.)",
        ),
        (("acme",), 2, "Missing option '--kind'. (See 'volt plugin new --help'.)"),
        (("ps", "--kind", "command"), 4, "The name 'ps' is taken: it is a command of volt-core. (Choose another; "),
        (("debian", "--kind", "source"), 4, "The name 'debian' is taken: it is an image source of volt-core"),
        (("acme", "--kind", "store", "--directory", ""), 2, "an empty path names nothing"),
        (
            ("acme", "--kind", "store", "--directory", "gone"),
            3,
            "There is no directory 'gone'. (Make it first, or name ",
        ),
    ],
)
def test_errors_say_what_to_do(
    volt: Command, place: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], status: int, complaint: str
) -> None:
    monkeypatch.chdir(place)
    said = volt("plugin", "new", *words)
    assert (said.status, said.out) == (status, "")
    assert complaint in said.err
    assert list(place.iterdir()) == []


def test_twice_is_refused(volt: Command, place: Path) -> None:
    words = ("plugin", "new", "acme", "--kind", "store", "--directory", str(place))
    volt.ok(*words)
    said = volt(*words)
    assert said.status == 4
    assert said.err == (
        f"Error: '{place}/volt-acme' exists already. (Choose another name, or another place with --directory.)\n"
    )


def test_an_interrupted_command_leaves_nothing(volt: Command, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Path, "rename", interrupt)
    said = volt("plugin", "new", "acme", "--kind", "store", "--directory", str(place))
    assert (said.status, said.err) == (130, "Interrupted.\n")
    assert list(place.iterdir()) == []


def test_other_commands_do_not_pay_for_it() -> None:
    code = "import sys; import volt_core.cli.plugin; sys.exit('volt_core.scaffold' in sys.modules)"
    assert run.run([sys.executable, "-c", code], timeout=30, env={"PYTHONPATH": ":".join(sys.path)}).status == 0
