"""Kill -9 of volt at every step: the next commands work, nothing is lost, and after a delete nothing is left.

Each step is a change of the file system, a change that systemd is asked for, or a wait for a job.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from volt_core.testing.command import Command
from volt_core.testing.killed import bus_steps, every_step, run_until

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

NothingLeft = Callable[[], None]
SLEEPS = ("box", "sleep", "1000")


@pytest.fixture(autouse=True)
def _count_the_bus() -> Iterator[None]:
    with bus_steps():
        yield


def statuses(volt: Command) -> dict[str, str]:
    """Return the status of every container; no complaint but one is due: that half of it has been deleted already."""
    shown = volt("ps", "--all", "--json")
    assert shown.status == 0, shown
    assert all(line.startswith("Warning: web: stale: its unit is missing") for line in shown.err.splitlines()), shown
    return {item["name"]: item["status"] for item in json.loads(shown.out)["items"]}


def start_and_delete(volt: Command, name: str) -> None:
    """Insist that a container can be started and deleted."""
    # One that runs may be about to end: a stop that systemd was asked for goes on without who asked.
    volt.ok("stop", name)
    volt.ok("start", name)
    assert statuses(volt)[name] == "running"
    volt.ok("delete", "--force", name)


def test_create(volt: Command, nothing_left: NothingLeft) -> None:
    words = ["create", "--name", "web", "--restart", "always", *SLEEPS]
    seen = set()

    def after(through: bool) -> None:
        found = statuses(volt)
        seen.add("web" in found)
        if "web" in found:
            assert found == {"web": "created"}
        else:
            assert not through
            volt.ok(*words)
        start_and_delete(volt, "web")
        nothing_left()

    assert every_step(words, after) > 20
    assert seen == {True, False}


def test_start(volt: Command, nothing_left: NothingLeft) -> None:
    seen = set()

    def after(through: bool) -> None:
        found = statuses(volt)["web"]
        seen.add(found)
        assert found == "running" or not through
        start_and_delete(volt, "web")
        nothing_left()
        volt.ok("create", "--name", "web", *SLEEPS)

    volt.ok("create", "--name", "web", *SLEEPS)
    assert every_step(["start", "web"], after) > 3
    assert seen == {"created", "running"}


def test_restart(volt: Command, nothing_left: NothingLeft) -> None:
    seen = set()

    def after(through: bool) -> None:
        found = statuses(volt)["web"]
        seen.add(found)
        assert found == "running" or not through
        start_and_delete(volt, "web")
        nothing_left()
        volt.ok("run", "--detach", "--name", "web", *SLEEPS)

    volt.ok("run", "--detach", "--name", "web", *SLEEPS)
    # Longer than the unit's own patience, so that a drop-in comes and goes.
    assert every_step(["restart", "--timeout", "60", "web"], after) > 10
    assert seen == {"running", "stopped"}


def test_delete(volt: Command, nothing_left: NothingLeft) -> None:
    words = ["run", "--detach", "--restart", "always", "--name", "web", *SLEEPS]
    seen = set()

    def after(through: bool) -> None:
        present = "web" in statuses(volt)
        seen.add(present)
        assert not (present and through)
        if not present:
            volt.ok("create", "--name", "web", *SLEEPS)
        start_and_delete(volt, "web")
        nothing_left()
        volt.ok(*words)

    volt.ok(*words)
    assert every_step(["delete", "--force", "web"], after) > 10
    assert seen == {True, False}


@pytest.mark.parametrize("options", [("--rm",), ("--detach",), ("--rm", "--detach")], ids=" ".join)
def test_run(volt: Command, nothing_left: NothingLeft, options: tuple[str, ...]) -> None:
    command = ("box", "true") if options == ("--rm",) else SLEEPS
    words = ["run", *options, "--name", "web", *command]
    seen = set()

    def after(through: bool) -> None:
        seen.add(statuses(volt).get("web", ""))
        if "web" in statuses(volt):
            volt.ok("delete", "--force", "web")
        # The name is free, and whoever has it next meets nothing of the other.
        assert volt("run", "--rm", "--name", "web", "box", "sh", "-c", "ls /left").status == 1
        nothing_left()

    # test_create has the steps until it exists.
    assert every_step(words, after, first=first_step(lambda: "web" in statuses(volt), words, after)) > 20
    assert {"created"} < seen


def first_step(condition: Callable[[], bool], words: list[str], after: Callable[[bool], None]) -> int:
    """Return the first step at which a command can be killed so that `condition` holds, found by bisection."""
    low, high = 0, 1
    while not run_and_ask(high, words, condition, after):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if run_and_ask(middle, words, condition, after):
            high = middle
        else:
            low = middle
    return high


def run_and_ask(step: int, words: list[str], condition: Callable[[], bool], after: Callable[[bool], None]) -> bool:
    """Kill a command at a step and tell whether the condition holds then; `after` puts things right again."""
    through = run_until(step, words)
    holds = condition()
    after(through)
    return holds
