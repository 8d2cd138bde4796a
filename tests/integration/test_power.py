"""The power of a host is cut at any moment of a container's life, and it is switched on again.

The machine below goes on, and with it the page cache of the host's disk: so this shows what becomes of acts that end
at any point, all processes at once, and not of writes that never reached a disk.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from volt_core.testing.hosts import SUITES
from volt_core.testing.killed import HELD

pytestmark = pytest.mark.parametrize("suite", SUITES)

SLEEPS = ("box", "sleep", "1000")
CREATE = ("create", "--restart", "always", "--name", "web", *SLEEPS)
# Python, and not volt: the command goes as far as a step, says so, and no further.
HOLD = ("python", "-m", "volt_core.testing.killed")


def cut_at(box: Any, step: int, words: tuple[str, ...]) -> bool:
    """Cut the power when a command is about to take that step; tell whether it came so far."""
    argv = box.host.argv([*HOLD, str(step), *words])
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        came = any(line == f"{HELD}\n".encode() for line in command.stdout if line.strip().decode() == HELD)
        if came:
            box.host.cut_power()
    if came:
        box.host.boot()
    else:
        assert command.returncode == 0
    return came


@pytest.mark.parametrize("act", ["create", "start", "stop", "delete"])
def test_cut_in_the_middle(make_box: Callable[[str], Any], suite: str, act: str) -> None:
    box = make_box(suite)
    before = box.traces()
    words = {"create": CREATE}.get(act, (act, "web"))
    step = 0
    while True:
        if act != "create":
            box.volt(*CREATE)
        if act == "stop":
            box.volt("start", "web")
        came = cut_at(box, step, words)
        state = box.states().get("web", {"status": "gone"})
        if came:
            # It is there or it is not; what was there starts with the host, and what began to run is told of.
            expected = {"create": {"gone", "running"}, "delete": {"gone", "running", "created"}}
            assert state["status"] in expected.get(act, {"running"}), (step, state)
        check_units(box)
        if state["status"] == "gone":
            box.volt(*CREATE)
        if state["status"] != "running":
            box.volt("start", "web")
        assert box.states()["web"]["status"] == "running"
        box.volt("delete", "--force", "web")
        assert box.traces() == before
        if not came:
            break
        # A boot for each: not all of them, as where volt alone is killed, but points of its whole length.
        step = step * 2 + 3
    assert step > 3


def check_units(box: Any) -> None:
    """Insist that no unit is written by half."""
    for unit in box.host.text("sh", "-c", "ls /etc/systemd/system | grep ^volt- || :").split():
        lines = box.host.text("cat", f"/etc/systemd/system/{unit}").splitlines()
        assert lines[-2:] == ["[Install]", "WantedBy=multi-user.target"]
        assert box.host.text("systemctl", "show", "--property=LoadState", "--value", unit) == "loaded"


def test_cut_while_containers_run(make_box: Callable[[str], Any], suite: str) -> None:
    box = make_box(suite)
    before = box.traces()
    box.volt("run", "--detach", "--name", "once", *SLEEPS)
    box.volt("run", "--detach", "--rm", "--name", "gone", *SLEEPS)
    box.volt("run", "--detach", "--restart", "always", "--name", "always", *SLEEPS)
    box.volt("run", "--detach", "--restart", "always", "--name", "stopped", *SLEEPS)
    box.volt("stop", "stopped")
    box.restart()
    states = box.states()
    assert sorted(states) == ["always", "once", "stopped"]
    assert states["always"]["status"] == "running"
    assert states["once"]["status"] == "failed"
    assert states["once"]["outcome"]["result"] == "lost"
    assert "the host went down" in states["once"]["outcome"]["reason"]
    for name in ("once", "always", "stopped"):
        if not box.is_active(name):
            box.volt("start", name)
        box.volt("delete", "--force", name)
    assert box.traces() == before
