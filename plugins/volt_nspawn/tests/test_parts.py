"""Kill -9 of what a container consists of: its end is told, it starts again, and after a delete nothing is left."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_core.paths import VoltPaths
from volt_core.processes import descendants
from volt_core.systemd.bus import Systemd
from volt_core.systemd.machine import find_leader
from volt_core.testing.command import Command, wait_for
from volt_core.testing.workbench import background

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

AllIsWell = Callable[[], None]
UnitOf = Callable[[str], str]
SLEEPS = ("box", "sleep", "1000")
_TEMPORARY = ".outcome.json.new"


def main_pid(unit: str) -> int:
    """Return the unit's main process."""
    with Systemd() as systemd:
        return systemd.show(unit).main_pid


@pytest.mark.parametrize("part", ["nspawn", "init", "payload", "all"])
def test_a_part_that_is_killed_ends_the_run(volt: Command, all_is_well: AllIsWell, unit_of: UnitOf, part: str) -> None:
    volt.ok("run", "--detach", "--name", "web", *SLEEPS)
    nspawn = main_pid(unit_of("web"))
    init = find_leader(nspawn)
    assert init is not None
    processes = [stat.pid for stat in descendants(nspawn)]
    parts = {"nspawn": [nspawn], "init": [init], "payload": [volt.state("web")["pid"]], "all": processes}
    for pid in parts[part]:
        os.kill(pid, signal.SIGKILL)
    assert volt("wait", "web").out == f"{128 + signal.SIGKILL}\n"
    state = volt.state("web")
    assert state["status"] == "failed"
    assert state["outcome"]["signal"] == signal.SIGKILL
    assert not any(os.path.exists(f"/proc/{pid}") for pid in processes)
    all_is_well()


@pytest.mark.parametrize("part", ["nspawn", "init", "payload"])
def test_what_is_to_run_always_comes_back(volt: Command, all_is_well: AllIsWell, unit_of: UnitOf, part: str) -> None:
    volt.ok("run", "--detach", "--restart", "always", "--name", "web", *SLEEPS)
    nspawn, payload = main_pid(unit_of("web")), volt.state("web")["pid"]
    os.kill({"nspawn": nspawn, "init": find_leader(nspawn), "payload": payload}[part], signal.SIGKILL)  # type: ignore[arg-type]
    wait_for(lambda: volt.state("web").get("pid") not in (None, payload))
    volt.ok("stop", "web")
    assert volt.state("web")["status"] == "stopped"
    all_is_well()


def test_an_end_that_nobody_could_keep_is_lost(volt: Command, all_is_well: AllIsWell, unit_of: UnitOf) -> None:
    volt.ok("run", "--detach", "--name", "web", *SLEEPS)
    # It waits for a reader here, which is how to meet it in the middle of its work.
    fifo = volt.root / "lib/containers/web" / _TEMPORARY
    os.mkfifo(fifo)
    with background(lambda: volt.process("stop", "web")) as stop:
        wait_for(lambda: _find("outcome", unit_of("web")))
        os.kill(_find("outcome", unit_of("web"))[0], signal.SIGKILL)
        assert stop.result(60).returncode == 0
    fifo.unlink()
    state = volt.state("web")
    assert (state["status"], state["outcome"]["result"]) == ("failed", "lost")
    all_is_well()


def test_a_start_whose_rootfs_is_killed_fails(volt: Command, all_is_well: AllIsWell, unit_of: UnitOf) -> None:
    volt.ok("create", "--name", "web", *SLEEPS)
    folder = VoltPaths.below(volt.root).run / "containers/web"
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        # It has mounted the root, and waits for an answer.
        silent.bind(str(folder / "attach"))
        silent.listen()
        with background(lambda: volt.process("start", "web")) as start:
            silent.accept()[0].detach()
            os.kill(main_pid(unit_of("web")), signal.SIGKILL)
            done = start.result(60)
    assert done.returncode == 5
    assert done.stderr.startswith(b"Error: Cannot start 'web': ")
    assert b"Traceback" not in done.stderr
    (folder / "attach").unlink()
    state = volt.state("web")
    assert (state["status"], state["outcome"]["result"]) == ("failed", "not-started")
    all_is_well()


def _find(name: str, unit: str) -> list[int]:
    """Return the processes of a unit that are called so."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            cgroup, comm = Path(f"/proc/{pid}/cgroup").read_text(), Path(f"/proc/{pid}/comm").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if unit in cgroup and comm.strip() == name:
            found.append(int(pid))
    return found
