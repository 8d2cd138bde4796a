"""Commands on containers of systemd: logs of runs, and outcomes that systemd has forgotten."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from volt_core.api import Volt
from volt_core.cli.exits import run_app
from volt_core.paths import VoltPaths
from volt_nspawn.names import unit_name

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]


class Said(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str


RunVolt = Callable[..., Said]


@pytest.fixture
def instance(tmp_path: Path, busybox_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VoltPaths]:
    """An instance with the image ``box``; its containers are removed afterwards."""
    root = tmp_path / "root"
    monkeypatch.setenv("VOLT_ROOT", str(root))
    volt = Volt(root)
    volt.images.import_(str(busybox_root), "box")
    yield volt.paths
    for item in volt.workloads.all():
        volt.workloads.delete(item.workload.name, force=True)


@pytest.fixture
def volt(instance: VoltPaths, capfd: pytest.CaptureFixture[str]) -> RunVolt:
    """Runs ``volt`` in this process."""

    def run(*words: str) -> Said:
        capfd.readouterr()
        return Said(run_app(words), *capfd.readouterr())

    return run


def ran(volt: RunVolt, script: str, *options: str) -> str:
    """Run a script as the container 'web', and return the id of the run."""
    assert volt("run", "-d", "--backend", "nspawn", "--name", "web", *options, "box", "sh", "-c", script).status == 0
    volt("wait", "web")
    (listed,) = json.loads(volt("ps", "--all", "--json").out)["items"]
    return str(listed["invocation"])


def test_the_log_of_a_run_is_found_by_its_invocation(volt: RunVolt) -> None:
    first = ran(volt, "echo run; echo $RANDOM; echo pear >&2")
    lines = volt("logs", "web").out
    assert volt("start", "web").status == 0
    volt("wait", "web")
    assert volt("logs", "--invocation", first, "web").out == lines
    assert [json.loads(line)["invocation"] for line in volt("logs", "--json", "-n", "1", "web").out.splitlines()] != [
        first
    ]
    assert volt("delete", "web").status == 0
    assert volt("logs", "web").status == 3
    said = volt("logs", "--invocation", first)
    assert (said.status, said.out, said.err) == (0, lines, "pear\n")
    assert volt("logs", "--invocation", first, "--grep", "^r").out == "run\n"
    records = [json.loads(line) for line in volt("logs", "--invocation", first, "--json").out.splitlines()]
    assert {record["invocation"] for record in records} == {first}
    assert volt("logs", "--invocation", first, "--until", "yesterday").out == ""


def test_a_run_that_is_none_of_volts_is_not_shown(volt: RunVolt) -> None:
    ran(volt, "true")
    shown = subprocess.run(
        ["systemctl", "show", "-p", "InvocationID", "--value", "systemd-journald.service"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    for invocation in (shown, "0" * 32):
        said = volt("logs", "--invocation", invocation)
        assert (said.status, said.out) == (0, "")
        assert said.err == f"Note: there are no lines of a run '{invocation}'.\n"


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("kill -USR1 $$", 138), ("true", 0)])
def test_an_outcome_outlasts_what_systemd_knows(volt: RunVolt, instance: VoltPaths, script: str, status: int) -> None:
    ran(volt, script)
    before = json.loads(volt("inspect", "web").out)["items"][0]["state"]
    unit = unit_name(instance, "web")
    for forget in (("reset-failed",), ("daemon-reload",), ("daemon-reexec",), ("reset-failed", unit)):
        subprocess.run(["systemctl", *forget], check=False, timeout=60, capture_output=True)
        (listed,) = json.loads(volt("ps", "--all", "--json").out)["items"]
        assert listed["exit_status"] == status
        assert json.loads(volt("inspect", "web").out)["items"][0]["state"] == before
        assert volt("wait", "web").out == f"{status}\n"
    shown = volt("ps", "--all").out
    assert "web" in shown
    assert volt("start", "web").status == 0


def test_an_outcome_outlasts_its_unit(volt: RunVolt, instance: VoltPaths) -> None:
    ran(volt, "kill -TERM $$")
    Path("/etc/systemd/system", unit_name(instance, "web")).unlink()
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=60)
    outcome = json.loads(volt("inspect", "web").out)["items"][0]["state"]["outcome"]
    assert (outcome["signal"], outcome["result"], outcome["exit_status"]) == (15, "signaled", 143)
