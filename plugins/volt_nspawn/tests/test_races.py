"""Several volts at once, on one container and on two: of each race one is the winner, and nothing is left of any."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from volt_core.testing.command import Command

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

NothingLeft = Callable[[], None]
SLEEPS = ("box", "sleep", "1000")
# A hundred races in each test: of five kinds on one container, of four on two.
ROUNDS, ROUNDS_ON_TWO = 20, 25
STORM = (
    "start web",
    "stop --timeout 0 web",
    "kill web",
    "restart web",
    "delete --force web",
    "ps --all",
    "inspect web",
)


def test_of_two_on_one_container_one_wins(volt: Command, nothing_left: NothingLeft) -> None:
    create = ("create", "--name", "web", *SLEEPS)
    for _ in range(ROUNDS):
        for words, loser in ((create, 4), (("start", "web"), 4)):
            said = volt.together(words, words)
            assert sorted(each.status for each in said) == [0, loser], said
            assert "Traceback" not in said[0].err + said[1].err
        assert volt.state("web")["status"] == "running"
        for words in (("stop", "web"), ("kill", "web")):
            said = volt.together(words, ("stop", "--timeout", "5", "web"))
            assert {each.status for each in said} <= {0, 4}, said
        said = volt.together(("start", "web"), ("delete", "--force", "web"))
        assert said[0].status in (0, 3), said
        assert said[1].status == 0, said
        nothing_left()


def test_two_on_two_containers_do_not_meet(volt: Command, nothing_left: NothingLeft) -> None:
    for _ in range(ROUNDS_ON_TWO):
        for words in (("create", "--name", "{}", *SLEEPS), ("start", "{}"), ("stop", "{}"), ("delete", "{}")):
            said = volt.together(*([word.format(name) for word in words] for name in ("web", "app")))
            assert [(each.status, each.err) for each in said] == [(0, ""), (0, "")], said
    nothing_left()


@pytest.mark.parametrize("seed", range(2))
def test_a_storm_of_everything(volt: Command, nothing_left: NothingLeft, seed: int) -> None:
    chance = random.Random(seed)
    create = ("create", "--name", "web", *SLEEPS)
    for _ in range(ROUNDS):
        said = volt.together(*([chance.choice(STORM).split() for _ in range(3)]), create)
        # Not there, not in that state, or its start was cut short by a kill.
        assert {each.status for each in said} <= {0, 3, 4, 5}, said
        assert not any("Traceback" in each.err for each in said), said
    volt("create", "--name", "web", *SLEEPS)
    volt.ok("delete", "--force", "web")
    nothing_left()
