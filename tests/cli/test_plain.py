"""Verbs with names alone are carried out without typer, and do what they do with it; ``--`` makes them go its way."""

from __future__ import annotations

import subprocess

import pytest

from volt_core.cli.plain import find_plain
from volt_core.cli.tables import TOP, VERBS


@pytest.mark.parametrize("words", [("start", "web"), ("container", "stop", "web", "db"), ("rm", "web")], ids=" ".join)
def test_names_alone_are_plain(words):
    assert find_plain(words) is not None


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("start",),
        ("container",),
        ("container", "start"),
        ("container", "rm", "web"),
        ("start", "--", "web"),
        ("start", "web", "--help"),
        ("start", "Web"),
        ("start", ""),
        ("--root", "/x", "start", "web"),
        ("stop", "-t", "1", "web"),
        ("kill", "web"),
        ("image", "delete", "web"),
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


@pytest.mark.parametrize("verb", sorted(name for name in (*VERBS, "rm") if find_plain((name, "web"))))
def test_it_does_without_typer(volt, verb):
    assert verb in TOP
    code = (
        "import sys; from volt_core.cli.exits import run_app; run_app(sys.argv[1:]); sys.exit('typer' in sys.modules)"
    )
    argv = [*volt.argv()[:1], "-P", "-c", code]
    for words, status in (((verb, "none"), 0), ((verb, "--", "none"), 1)):
        done = subprocess.run([*argv, *words], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr[:7]) == (status, b"Error: "), done
