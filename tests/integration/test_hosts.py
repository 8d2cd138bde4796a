"""Test hosts: what they are, and that nothing is left of them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from volt_core.errors import BackendError, CommandFailed, TimedOut
from volt_core.testing import host as capabilities
from volt_core.testing import roots
from volt_core.testing.census import take_census
from volt_core.testing.hosts import SUITES, pool
from volt_core.testing.hosts.machine import Host

ROOT = Path(__file__).parents[2]
SYSTEMD = {"bookworm": "252", "trixie": "257"}
MakeHost = Callable[[str], Host]


@pytest.fixture(autouse=True)
def _hosts_are_possible() -> None:
    # Not the marker, by which a test runs in a host: these are about hosts, from outside.
    capabilities.require("systemd")


def traces(host: Host) -> dict[str, set[str]]:
    """Return what this machine shows of a host, by kind; other test runs may have theirs at the same time."""
    census, where = take_census(cgroups=[host.name]), str(host.folder)
    found = {
        "mounts": {mount for mount in census.mounts if where in mount},
        "loops": {loop for loop in census.loops if where in loop},
        "cgroups": set(census.cgroups),
        "processes": set(census.processes),
    }
    return {kind: names for kind, names in found.items() if names}


def test_a_host_is_a_machine_with_volt_installed(host: Host) -> None:
    assert host.text("systemctl", "--version").split()[1] == SYSTEMD[host.suite]
    assert host.text("systemctl", "is-system-running") == "running"
    assert host.text("cat", "/proc/1/comm") == "systemd"
    assert host.text("volt", "--version").startswith("volt ")
    where = host.text("/opt/volt/bin/python", "-c", "import volt_core, volt_nspawn; print(volt_core.__file__)")
    assert where.startswith("/opt/volt/lib/"), "the wheel, not the source tree"


def test_a_command_in_a_host_has_its_own_streams_and_status(host: Host) -> None:
    done = host.run("sh", "-c", "cat; echo oops >&2; exit 7", stdin=b"\0\xff", ok=(7,))
    assert (done.stdout, done.stderr) == (b"\0\xff", b"oops\n")
    with pytest.raises(CommandFailed) as failed:
        host.run("false")
    assert failed.value.status == 1
    with pytest.raises(TimedOut):
        host.run("sleep", "60", timeout=0.5)
    assert wait_until(lambda: host.text("pgrep", "-x", "sleep", ok=(0, 1)) == "")


def test_two_at_once_of_each_suite_know_nothing_of_each_other(make_host: MakeHost) -> None:
    hosts = [make_host(suite) for suite in (*SUITES, SUITES[0])]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda host: host.run("sh", "-c", f"echo {host.folder.name} >/etc/mark"), hosts))
    assert [host.text("cat", "/etc/mark") for host in hosts] == [host.folder.name for host in hosts]
    assert len({host.text("cat", "/etc/machine-id") for host in hosts}) == 3
    assert len({host.name for host in hosts}) == 3


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("end", [Host.stop, Host.cut_power, Host.destroy])
def test_nothing_is_left_of_a_host(make_host: MakeHost, suite: str, end: Callable[[Host], None]) -> None:
    machine = make_host(suite)
    machine.run("systemd-run", "--quiet", "sh", "-c", "exec sleep 600")
    machine.run("sh", "-c", "mkdir /tmp/m && mount -t tmpfs m /tmp/m && mount --bind /tmp/m /var/lib/volt")
    assert traces(machine).keys() == {"cgroups", "processes"}, "its mounts are its own from the start"
    end(machine)
    assert traces(machine) == {}
    assert not machine.is_up
    machine.destroy()
    assert not machine.folder.exists()


@pytest.mark.parametrize("suite", SUITES)
def test_the_disk_of_a_host_outlives_its_power(make_host: MakeHost, suite: str) -> None:
    machine = make_host(suite)
    machine.run("sh", "-c", "echo kept >/root/file; echo kept >/var/lib/volt/file; sync")
    machine.run("systemd-cat", "--identifier=test", "echo", "before the cut")
    machine.run("journalctl", "--sync")
    machine.cut_power()
    assert "before the cut" in machine.journal("--identifier=test")
    with pytest.raises(BackendError, match="not up"):
        machine.run("true")
    machine.boot()
    assert machine.text("cat", "/root/file", "/var/lib/volt/file") == "kept\nkept"
    assert "before the cut" in machine.journal("--identifier=test", "--boot=-1")


def test_a_host_that_does_not_come_up_is_taken_away(make_host: MakeHost) -> None:
    machine = make_host("bookworm")
    machine.run("sh", "-c", "printf '[Service]\\nExecStart=/bin/false\\n' >/etc/systemd/system/broken.service")
    machine.run("systemctl", "add-wants", "multi-user.target", "broken.service")
    machine.stop()
    with pytest.raises(BackendError, match="degraded"):
        machine.boot()
    assert traces(machine) == {}


_BOOTS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from volt_core.testing.hosts.base import make_base
from volt_core.testing.hosts.machine import Host
folder, cache = map(Path, sys.argv[1:])
Host(folder, [make_base("bookworm", cache)], "bookworm").boot()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_host_ends_with_the_process_that_booted_it(tmp_path: Path) -> None:
    left = Host(tmp_path / "host", [], "bookworm")
    argv = [sys.executable, "-c", _BOOTS_AND_DIES, str(tmp_path / "host"), str(pool.CACHE)]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert wait_until(lambda: "processes" not in traces(left))
    assert "Shutting down." in left.journal()
    left.destroy()
    assert traces(left) == {}


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Tell whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return true


@pytest.mark.parametrize("terminal", [False, True])
def test_dev_host_runs_a_command_in_a_fresh_one(terminal: bool) -> None:
    argv = [
        sys.executable,
        "-m",
        "volt_core.testing.hosts",
        "--suite",
        "trixie",
        "sh",
        "-c",
        "tty; volt --version; exit 9",
    ]
    if terminal:
        argv = ["script", "--quiet", "--return", "--command", shlex.join(argv), "/dev/null"]
    environment = {**os.environ, roots.CACHE_VARIABLE: str(pool.CACHE.parent)}
    done = subprocess.run(argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 9, done.stderr.decode()
    first, second = done.stdout.decode().split("\n")[:2]
    assert "/dev/pts/" in first if terminal else first == "not a tty"
    assert second.startswith("volt ")


def test_coverage_in_a_host_is_brought_back(tmp_path: Path) -> None:
    script = "from volt_nspawn.capabilities import dropped; dropped(frozenset())"
    argv = [sys.executable, "-m", "volt_core.testing.hosts", "/opt/volt/bin/python", "-c", script]
    data = tmp_path / "data"
    environment = {
        **os.environ,
        roots.CACHE_VARIABLE: str(pool.CACHE.parent),
        "COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"),
        "COVERAGE_FILE": str(data),
    }
    subprocess.run(argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=True)
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, env=environment, check=True)
    report = subprocess.run(
        [*coverage, "report", "--format=total", "--include=plugins/volt_nspawn/src/volt_nspawn/capabilities.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert report.stdout == b"100\n"
