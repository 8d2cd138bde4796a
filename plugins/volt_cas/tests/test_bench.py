"""``volt bench cas``: what it measures is right, what it makes goes again, and the user's store stays as it is."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from volt_cas.bench import measure, place, sample
from volt_cas.bench.yardsticks import Yardsticks, raw_hashing
from volt_cas.store import CasStore
from volt_core import run
from volt_core.contracts import SILENT, Ref
from volt_core.errors import StoreError, StoreFull, UsageError
from volt_core.testing.command import wait_for

OPERATIONS = ["build", "build again", "verify", "checkout, links", "gc of half", "hash 64 MiB"]


def argv(tmp_path, *words):
    return [sys.executable, "-m", "volt_core", "--root", str(tmp_path / "root"), "bench", "cas", *words]


@pytest.fixture
def no_waiting(monkeypatch):
    monkeypatch.setattr(measure, "RACY_SECONDS", 0.0)


def only_tools_of(monkeypatch, folder):
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(run, "_DEFAULT_PATH", str(folder))


def listing(path):
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)


def test_one_json_document_and_nothing_left(tmp_path):
    store = CasStore(tmp_path / "root/lib/cas")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("content")
    store.put_directory(tmp_path / "mine", ref=Ref(name="mine", digest=""))
    before = listing(tmp_path / "root/lib/cas")
    done = run.run(argv(tmp_path, "--json", "--files", "60", "--rounds", "1"), timeout=60)
    document = json.loads(done.stdout)
    assert document["schema"] == "volt.bench-cas.v1"
    assert (document["files"], document["rounds"]) == (60, 1)
    assert [it["name"] for it in document["operations"]] == OPERATIONS
    assert all(it["seconds"] > 0 and it["ratio"] > 0 and it["rate"] > 0 for it in document["operations"])
    assert {"cpus", "kernel", "file_system", "native", "volt", "python"} == set(document["machine"])
    assert listing(tmp_path / "root/lib/cas") == before
    assert [name for name in os.listdir(tmp_path / "root/lib") if name.startswith(".volt-bench")] == []


def test_a_table_for_people(tmp_path, no_waiting):
    done = run.run(argv(tmp_path, "--files", "20", "--rounds", "1", "--directory", str(tmp_path)), timeout=60)
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["OPERATION", "TIME", "BESIDE", "ITS", "TIME", "RATIO", "RATE"]
    assert [line.split("  ")[0] for line in lines[1:]] == OPERATIONS
    assert "20 files" in done.stderr.decode()
    assert not (tmp_path / "root/lib/cas").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(tmp_path, number):
    words = argv(tmp_path, "--files", "3000", "--directory", str(tmp_path))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_for(lambda: list(tmp_path.glob(".volt-bench-*/tree/first")))
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == -number or process.returncode == 128 + number
    assert b"Traceback" not in said
    assert list(tmp_path.glob(".volt-bench-*")) == []


def test_the_next_run_removes_what_a_killed_one_left_and_not_what_is_in_use(tmp_path):
    for name in ("dead", "alive"):
        (tmp_path / f".volt-bench-{name}/tree").mkdir(parents=True)
    (tmp_path / "volt-bench-other").mkdir()
    descriptor = os.open(tmp_path / ".volt-bench-alive", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with place.temporary_folder(tmp_path, 0) as folder:
            assert folder.parent == tmp_path
            assert {path.name for path in tmp_path.iterdir()} == {".volt-bench-alive", "volt-bench-other", folder.name}
    finally:
        os.close(descriptor)
    assert not folder.exists()


def test_a_full_or_foreign_place_is_refused_with_a_hint(tmp_path):
    with (
        pytest.raises(StoreFull, match="are needed") as full,
        place.temporary_folder(tmp_path, 1 << 60),
    ):
        pass
    assert "--directory" in full.value.hint
    with (
        pytest.raises(UsageError, match="Cannot measure in '/proc'") as foreign,
        place.temporary_folder(Path("/proc"), 0),
    ):
        pass
    assert "--directory" in foreign.value.hint


def test_the_place_is_the_nearest_directory_that_exists(tmp_path):
    assert place.nearest_directory(tmp_path / "a/b/cas") == tmp_path
    (tmp_path / "a").mkdir()
    assert place.nearest_directory(tmp_path / "a/b/cas") == tmp_path / "a"


def test_a_wrong_result_is_no_figure(tmp_path, no_waiting, monkeypatch):
    gc = CasStore.gc
    monkeypatch.setattr(CasStore, "gc", lambda self, **options: msgspec.structs.replace(gc(self, **options), objects=1))
    with pytest.raises(StoreError, match="1 objects, not "):
        measure.Bench(tmp_path, 40, SILENT).run(1)


def test_no_further_round_where_each_takes_long(tmp_path, no_waiting, monkeypatch):
    monkeypatch.setattr(measure, "_SPENT", 0.0)
    assert measure.Bench(tmp_path, 20, SILENT).run(5).rounds == 1


def test_rounds_are_paired_and_the_median_is_told(tmp_path, no_waiting):
    report = measure.Bench(tmp_path, 20, SILENT).run(2)
    assert report.rounds == 2
    assert [it.name for it in report.operations] == OPERATIONS
    assert [it.unit for it in report.operations] == ["files/s"] * 5 + ["MB/s"]


def test_a_host_without_the_tools_is_measured_beside_python(tmp_path, monkeypatch):
    made = sample.make_tree(tmp_path / "tree", 30)
    yardsticks = Yardsticks()
    only_tools_of(monkeypatch, tmp_path)
    for call in (yardsticks.copy, yardsticks.link):
        assert call(tmp_path / "tree", tmp_path / "out").name.startswith("Python for cp")
        assert len(listing(tmp_path / "out")) == made.files
        assert yardsticks.remove(tmp_path / "out").name == "Python for rm -rf"
        assert not (tmp_path / "out").exists()
    assert yardsticks.look(tmp_path / "tree").name == "Python for find"
    assert yardsticks.hash(tmp_path / "tree").name == "Python for xargs sha256sum"


def test_a_tool_that_fails_is_not_asked_again(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "setpriv").symlink_to(run.need_program("setpriv"))
    (tools / "find").write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\nexit 1\n")
    (tools / "find").chmod(0o755)
    only_tools_of(monkeypatch, tools)
    yardsticks = Yardsticks()
    assert [yardsticks.look(tools).name for _ in range(2)] == ["Python for find"] * 2
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_the_sample_is_the_same_everywhere_and_is_what_is_told(tmp_path):
    first, second = (sample.make_tree(tmp_path / name, 500) for name in ("one", "two"))
    assert first == second
    digests = {}
    for half in sample.HALVES:
        names = listing(tmp_path / "one" / half)
        assert names == [name.replace("/two/", "/one/") for name in listing(tmp_path / "two" / half)]
        contents = [Path(name).read_bytes() for name in names]
        assert contents == [Path(name.replace("/one/", "/two/")).read_bytes() for name in names]
        digests[half] = {hashlib.sha256(content).digest() for content in contents}
    assert tuple(len(digests[half]) for half in sample.HALVES) == first.contents
    assert not digests["first"] & digests["second"]
    assert len(listing(tmp_path / "one")) == first.files == 500
    assert sum(os.path.getsize(name) for name in listing(tmp_path / "one")) == first.bytes
    assert 2500 < first.bytes / first.files < 4500


def test_raw_hashing_is_told_for_the_size_that_was_asked_for():
    assert raw_hashing(64 << 20).seconds > raw_hashing(1 << 20).seconds > 0
