"""What is believed of the files in a container's folder; the container's root may write to one of them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from volt_core.errors import StateError
from volt_core.models.workload import Status
from volt_core.systemd.unitstate import UnitState
from volt_core.testing.payloads import ShellPayload
from volt_core.testing.workbench import Workbench
from volt_nspawn import status

ID, OTHER = "a" * 32, "b" * 32
RUNNING = UnitState(load="loaded", active="active", sub="running", main_pid=0)
HOSTILE = [
    b"",
    b"\0" * 1000,
    b"begin",
    b"begin \n",
    b"begin x " + ID.encode(),
    b"begin -5 " + ID.encode(),
    b"begin " + b"9" * 5000 + b" " + ID.encode(),
    "begin ١٢٣ ".encode() + ID.encode(),
    b"begin 5 " + b"\xff" * 32,
    b"begin 5 ../../../etc",
    b"pid\npid \npid x\npid -1\npid 0x10\npid \xff\n",
    b"pid " + b"9" * 5000,
    b"x" * 1_000_000,
    b"\n" * 1_000_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_report_of_anything_is_a_run_whose_end_nobody_saw(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "run").write_bytes(text)
    found = status.status_of(tmp_path, None, boot=False)
    assert found.status is Status.FAILED
    assert found.outcome is not None
    assert (found.outcome.result, found.outcome.started, found.outcome.invocation) == ("lost", 0, "")


def test_only_the_first_line_tells_of_the_beginning(tmp_path: Path) -> None:
    now = time.time_ns()
    (tmp_path / "run").write_text(f"begin {now} {ID}\npid 2\nbegin 7 {OTHER}\n")
    outcome = status.last_outcome(tmp_path)
    assert outcome is not None
    assert (outcome.result, outcome.started, outcome.invocation) == ("lost", now, ID)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run")
    assert status.outcome_of(tmp_path, ID) is not None
    (tmp_path / "run").unlink()
    (tmp_path / "secret").write_text(f"begin 5 {ID}\n")
    (tmp_path / "run").symlink_to(tmp_path / "secret")
    outcome = status.last_outcome(tmp_path)
    assert outcome is not None
    assert outcome.invocation == ""


def test_the_outcome_is_that_of_the_run_that_was_asked_for(tmp_path: Path) -> None:
    _keep(tmp_path, ID, 3)
    assert (tmp_path / "run").write_text(f"begin 5 {OTHER}\n")
    kept, running = status.outcome_of(tmp_path, ID), status.outcome_of(tmp_path, OTHER)
    assert kept is not None
    assert running is not None
    assert kept.code == 3
    assert (running.code, running.result, running.invocation) == (None, "lost", OTHER)
    _keep(tmp_path, OTHER, 4)
    (tmp_path / "run").unlink()
    late = status.outcome_of(tmp_path, ID)
    assert late is not None
    assert (late.code, late.result, late.invocation) == (None, "lost", ID)


def test_a_report_that_outlived_its_outcome_hides_nothing(tmp_path: Path) -> None:
    _keep(tmp_path, ID, 3)
    (tmp_path / "run").write_text(f"begin 5 {ID}\nexit 3\n")
    for outcome in (status.last_outcome(tmp_path), status.outcome_of(tmp_path, ID)):
        assert outcome is not None
        assert outcome.code == 3


def test_a_run_that_failed_before_it_began_has_an_end(tmp_path: Path) -> None:
    _keep(tmp_path, "", 203)
    outcome = status.outcome_of(tmp_path, ID)
    assert outcome is not None
    assert outcome.code == 203


def test_no_run_has_no_outcome(tmp_path: Path) -> None:
    assert status.outcome_of(tmp_path, "") is None
    assert not status.has_kept(tmp_path, ID)


def test_a_damaged_outcome_is_a_failure_and_said(tmp_path: Path) -> None:
    (tmp_path / "outcome.json").write_text("{")
    assert not status.has_kept(tmp_path, ID)
    assert status.status_of(tmp_path, None, boot=False).status is Status.FAILED
    with pytest.raises(StateError):
        status.outcome_of(tmp_path, ID)


def test_the_state_of_systemd_counts_and_not_the_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text(f"begin 5 {ID}\npid 1\n")
    assert status.status_of(tmp_path, RUNNING, boot=False).status is Status.RUNNING
    assert status.status_of(tmp_path, RUNNING, boot=False).pid is None


@pytest.mark.needs_systemd
@pytest.mark.needs_root
@pytest.mark.needs_busybox
def test_no_process_outside_the_container_is_its_first(bench: Workbench) -> None:
    workload = bench.start(ShellPayload().sleeps())
    report = bench.folder(workload) / "run"
    good = bench.backend.status(workload).pid
    assert good is not None
    assert Path(f"/proc/{good}/comm").read_text() == "sleep\n"
    begin = report.read_bytes().split(b"\n")[0]
    for pid in (1, os.getpid(), good):
        report.write_bytes(begin + b"\npid %d\n" % pid)
        assert bench.backend.status(workload).pid is None
        with pytest.raises(Exception, match="not running"):
            bench.backend.kill(workload, 9)
    assert bench.backend.status(workload).status is Status.RUNNING


def _keep(folder: Path, invocation: str, code: int) -> None:
    outcome = {"schema": 1, "code": code, "result": "exited", "invocation": invocation, "started": 1, "finished": 2}
    (folder / "outcome.json").write_text(json.dumps(outcome))
