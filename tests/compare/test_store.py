"""The store's comparison and its growth, run with next to nothing so that they do not rot: no figure is looked at."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tarfile
import textwrap

import pytest

from benchmarks import corpora
from benchmarks.compare import growth, operations, peers, scaling, store
from benchmarks.compare.candidates import Volt
from benchmarks.compare.peers import PEERS
from benchmarks.compare.results import Run
from volt_core.testing import host


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Nothing is timed here: a store may well read young files again, and others need not wait for our disk."""
    monkeypatch.setattr(os, "sync", lambda: None)
    for module in (operations, store, scaling, growth):
        if hasattr(module, "RACY_SECONDS"):
            monkeypatch.setattr(module, "RACY_SECONDS", 0.0)


@pytest.fixture
def archive(tmp_path):
    corpora.make_small_files(tmp_path / "root", 40)
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add(tmp_path / "root", ".")
    return tmp_path / "root.tar"


@pytest.mark.needs_zip
@pytest.mark.needs_unzip
def test_a_run_measures_all_that_was_asked_for_and_writes_it(tmp_path, archive, capsys):
    words = ["--fs", "directory", "--directory", str(tmp_path), "--output", str(tmp_path / "output")]
    words += ["--rounds", "1", "--peers", "none", "--corpora", "A,C", "--megabytes", "1"]
    store.main([*words, "--tar", str(archive)])
    document = json.loads((tmp_path / "output/results.json").read_text())
    assert [it["failed"] for it in document["results"] if it["failed"]] == []
    measured = {(it["operation"], it["corpus"]) for it in document["results"] if it["pairs"]}
    expected = {(it.name, corpus) for it in operations.OPERATIONS for corpus in it.corpora if corpus != "B"}
    assert measured == expected
    text = (tmp_path / "output/results.md").read_text()
    assert text in capsys.readouterr().out
    assert "believe the ratios" in text
    assert (tmp_path / "output/ratios.svg").read_text().startswith("<svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output", "root", "root.tar"]


def test_what_volt_fails_at_ends_the_run_with_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Volt, "verify", lambda self: f"{self.command} cas no-such-command")
    monkeypatch.setattr(store, "_warm_up", lambda bench: None)
    words = ["--fs", "directory", "--directory", str(tmp_path), "--rounds", "1", "--peers", "none"]
    with pytest.raises(SystemExit) as ended:
        store.main([*words, "--corpora", "B", "--files", "12", "--operations", "verify"])
    assert ended.value.code == 1
    assert "volt, corpus B, verify: ended with status 2" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--corpora", "D"], ["--operations", "build,fly"], ["--peers", "tar"]])
def test_what_does_not_exist_is_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as ended:
        store.main(words)
    assert ended.value.code == 2
    assert "is none of" in capsys.readouterr().err


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.NAME)
def test_another_program_does_every_operation(peer, tmp_path):
    host.require(peer.PROGRAM)
    assert any(character.isdigit() for character in peer.version())
    assert peer.DIFFERENCE
    tree, halves = tmp_path / "tree", [tmp_path / "first", tmp_path / "second"]
    corpora.make_small_files(tree, 24)
    corpora.split(tree, *halves)
    candidate = peer(tmp_path / "repository")
    candidate.reset()
    for source in (tree, halves[1]):
        candidate.run(candidate.build(source, source.name))
    command = candidate.checkout("tree", tmp_path / "out")
    if command is not None:
        candidate.run(command)
        names = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
        assert names == {path.name: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    for command in (candidate.gc("second"), candidate.verify()):
        assert command is None or candidate.run(command) is not None


@pytest.mark.needs_git
def test_a_peer_is_measured_beside_volt_and_one_that_is_missing_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers.Rsync, "PROGRAM", "no-such-program")
    words = ["--fs", "directory", "--directory", str(tmp_path), "--rounds", "1", "--corpora", "B", "--files", "12"]
    store.main([*words, "--peers", "git,rsync", "--operations", "build,again,gc,copy"])
    out = capsys.readouterr().out
    assert "- rsync: not installed" in out
    (volt, git) = [line for line in out.splitlines() if line.startswith(("| volt |", "| git |"))]
    assert volt.count(" (x") == git.count(" (x") == 3  # git has no operation of copies


@pytest.fixture
def their_plugin(site):
    """A distribution with a store of its own by the name of ``theirs``; the environment in which it is seen."""
    source = """
        from volt_cas.store import CasStore
        from volt_core.hookspecs import hookimpl

        class TheirStore(CasStore):
            NAME = "theirs"

            def __init__(self, path):
                super().__init__(path.with_name("their-place"))

        @hookimpl
        def volt_register_stores():
            return [TheirStore]
    """
    site.install("theirs", textwrap.dedent(source))
    return {"PYTHONPATH": str(site.folder)}


def test_a_store_of_a_third_party_is_measured_by_its_name(tmp_path, their_plugin, monkeypatch):
    run = Run({})
    places = []
    monkeypatch.setattr(Volt, "reset", lambda self: (places.append(self.place), super(Volt, self).reset())[1])
    finished = []

    def keep(bench):
        finished.append({path.name for path in (bench.directory / "store/lib").iterdir()})
        return operations.OPERATIONS[0].run(bench)

    last = operations.Operation("last", "what is there", "nothing", keep)
    monkeypatch.setattr(store, "OPERATIONS", (*operations.OPERATIONS[:6], last))
    setting = store.Setting(below=tmp_path, small_files=24, operations=("build", "verify", "gc", "checkout", "last"))
    store.measure(run, setting, "B", functools.partial(Volt, store="theirs", environment=their_plugin))
    assert [it.failed for it in run.results if it.failed] == []
    assert {it.candidate for it in run.results} == {"volt, store theirs"}
    assert all(it.pairs for it in run.results)
    assert "their-place" in finished[0]
    assert "cas" not in finished[0]


def test_a_store_that_nobody_registers_is_refused(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as failed:
        store.measure(Run({}), store.Setting(below=tmp_path, small_files=12), "B", functools.partial(Volt, store="no"))
    assert "'no'" in failed.value.stderr


def test_growth_is_measured_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(growth, "answers", lambda directory, files, volt: {f"of {files}": ["| x |"]})
    words = ["--fs", "directory", "--directory", str(tmp_path), "--output", str(tmp_path / "output")]
    scaling.main([*words, "--counts", "60,20"])
    document = json.loads((tmp_path / "output/scaling.json").read_text())
    assert {operation: sorted(found) for operation, found in document["samples"].items()} == {
        operation: ["20", "60"] for operation in scaling.LABELS
    }
    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == [
        "memory.svg",
        "rates.svg",
        "scaling.json",
        "scaling.md",
    ]
    text = (tmp_path / "output/scaling.md").read_text()
    assert text in capsys.readouterr().out
    assert "## of 20\n\n| x |" in text


def test_little_changes_are_counted_by_what_the_store_holds(tmp_path):
    tables = growth.answers(tmp_path, 200, Volt(tmp_path / "store"))
    changed, new_times = ([line.split(" | ") for line in table[2:]] for table in tables.values())
    assert [cells[0] for cells in changed] == [
        "| the whole tree",
        "| 1 %, side by side",
        "| another 1 %, every hundredth file",
    ]
    assert [cells[1] for cells in changed[1:]] == [f"2 ({200 / int(changed[0][1].split()[0]):.1f} %)"] * 2
    keep, clamp = new_times
    assert int(keep[2]) > 0
    assert int(keep[4].split(",")[0]) > 170
    assert clamp[2] == "0"
    assert clamp[4].startswith("0, 0.0 MB")
