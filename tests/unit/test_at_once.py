"""Acts on several names at the same time."""

from __future__ import annotations

import threading

import pytest

from volt_core.cli.at_once import MOST, begin_all
from volt_core.errors import WrongState


def test_what_came_of_each_stands_in_order_of_names() -> None:
    assert [begun.result(10) for begun in begin_all(["b", "a", "b"], str.upper)] == ["B", "A", "B"]


def test_as_many_as_may_be_are_under_way_at_once() -> None:
    together = threading.Barrier(MOST)
    assert [
        begun.result(10) for begun in begin_all([str(n) for n in range(2 * MOST)], lambda _: together.wait(10) >= 0)
    ]


def test_one_that_fails_keeps_nobody_from_anything() -> None:
    def act(name: str) -> str:
        if name == "bad":
            raise WrongState("no")
        return name

    good, bad, *others = begin_all(["good", "bad", *map(str, range(MOST))], act)
    assert good.result(10) == "good"
    with pytest.raises(WrongState):
        bad.result(10)
    assert len([other.result(10) for other in others]) == MOST
