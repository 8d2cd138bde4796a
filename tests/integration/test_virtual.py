"""The host that is a virtual machine: what has no controllers elsewhere runs there, and nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from volt_core import run
from volt_core.testing import host as capabilities
from volt_core.testing.census import take_census
from volt_core.testing.hosts import SUITE_VARIABLE, VIRTUAL, VIRTUAL_SUITE, pool
from volt_core.testing.hosts.base import make_base
from volt_core.testing.hosts.kernel import make_kernel
from volt_core.testing.hosts.virtual import NO_STATUS, QEMU, VirtualHost

_BOOT_SECONDS = 120.0
MakeVirtual = Callable[[list[Path]], VirtualHost]


@pytest.fixture
def make_virtual(tmp_path: Path) -> Iterator[MakeVirtual]:
    """Make a host of some layers, not of Volt's wheels: these tests are about the machine."""
    capabilities.require("virtual_host")
    made = []

    def make(layers: list[Path]) -> VirtualHost:
        made.append(VirtualHost(tmp_path / "host", layers, VIRTUAL, make_kernel(VIRTUAL_SUITE, pool.CACHE)))
        return made[-1]

    yield make
    for host in made:
        host.destroy()


@pytest.mark.needs_systemd
@pytest.mark.needs_cgroup_controllers
def test_what_needs_controllers_runs_where_they_are() -> None:
    assert os.environ[SUITE_VARIABLE] == VIRTUAL
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    assert {"cpu", "memory", "pids"} <= set(Path("/sys/fs/cgroup/cgroup.controllers").read_text().split())


def test_a_boot_that_fails_says_what_the_console_said(make_virtual: MakeVirtual, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run.run(make_virtual([empty]).argv(["true"]), timeout=_BOOT_SECONDS, ok=(NO_STATUS,))
    assert b"/root/tmp failed: No such file or directory" in done.stderr
    assert b"Power down" in done.stderr


def test_a_machine_that_is_not_well_runs_nothing(make_virtual: MakeVirtual) -> None:
    machine = make_virtual([make_base(VIRTUAL_SUITE, pool.CACHE)])
    units = machine.folder / "upper/etc/systemd/system"
    units.joinpath("sysinit.target.wants").mkdir(parents=True)
    units.joinpath("broken.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/false\n")
    units.joinpath("sysinit.target.wants/broken.service").symlink_to("../broken.service")
    done = run.run(machine.argv(["touch", "/var/lib/volt/ran"]), timeout=_BOOT_SECONDS, ok=(NO_STATUS,))
    assert b"This machine is degraded" in done.stderr
    assert b"broken.service" in done.stderr
    assert not (machine.data / "ran").exists()
    assert "broken.service: Failed with result 'exit-code'" in machine.last_words()


def test_nothing_is_left_when_its_power_is_cut(make_virtual: MakeVirtual) -> None:
    machine = make_virtual([make_base(VIRTUAL_SUITE, pool.CACHE)])
    argv, environment = machine.argv(["true"]), run.child_environment()
    process = run.spawn(argv, env=environment, stdin=run.DEVNULL, stdout=run.DEVNULL, stderr=run.DEVNULL)
    wait_for_kernel(machine.folder)
    assert {QEMU[:15], "virtiofsd"} <= programs(machine)
    machine.destroy()
    assert process.wait(10) != 0
    assert not machine.folder.exists()
    assert take_census(cgroups=[machine.name]).cgroups == frozenset()


_BOOTS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from volt_core import run
from volt_core.testing.hosts import VIRTUAL, VIRTUAL_SUITE, pool
from volt_core.testing.hosts.base import make_base
from volt_core.testing.hosts.kernel import make_kernel
from volt_core.testing.hosts.virtual import VirtualHost
sys.path.insert(0, sys.argv[1])
from test_virtual import wait_for_kernel
folder, cache = map(Path, sys.argv[2:])
host = VirtualHost(folder, [make_base(VIRTUAL_SUITE, cache)], VIRTUAL, make_kernel(VIRTUAL_SUITE, cache))
run.spawn(host.argv(["true"]), env=run.child_environment(), stdin=-3, stdout=-3, stderr=-3)
wait_for_kernel(folder)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_the_process_that_started_it(make_virtual: MakeVirtual) -> None:
    left = make_virtual([])
    argv = [sys.executable, "-c", _BOOTS_AND_DIES, str(Path(__file__).parent), str(left.folder), str(pool.CACHE)]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    deadline = time.monotonic() + 10
    while programs(left):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_kernel(folder: Path) -> None:
    """Wait until a machine has said something."""
    deadline = time.monotonic() + _BOOT_SECONDS
    while not (folder / "console.log").exists() or not (folder / "console.log").stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def programs(machine: VirtualHost) -> set[str]:
    """Return what runs for a machine."""
    return {process.split(maxsplit=1)[1] for process in take_census(cgroups=[machine.name]).processes}
