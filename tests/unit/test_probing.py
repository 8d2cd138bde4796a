"""Asking whether something works here: an answer comes in any case, and in bounded time."""

from __future__ import annotations

import threading
import time

import pytest

from volt_core.contracts import Probe
from volt_core.plugins.probing import probe
from volt_core.testing.fakes import DummyService


def answers(function):
    """Return a backend whose probe is this function."""
    return type("Asked", (DummyService,), {"probe": staticmethod(function)})


def test_the_answer_is_the_probes_own():
    assert probe(answers(lambda: Probe.yes("3.1"))) == Probe.yes("3.1")
    assert probe(answers(lambda: Probe.no("no tool", "Install it."))) == Probe.no("no tool", "Install it.")


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("odd"), "ValueError: odd"), (SystemExit("no"), "SystemExit: no")]
)
def test_one_that_raises_is_a_no(error, said):
    def fail():
        raise error

    assert probe(answers(fail)).reason == f"its probe failed: {said}"


def test_one_that_answers_something_else_is_a_no():
    found = probe(answers(lambda: True))
    assert (found.available, found.reason) == (False, "its probe returned True, not a Probe")


def test_one_that_hangs_is_a_no_and_is_waited_for_once():
    release = threading.Event()
    asked = []

    def hang():
        asked.append(1)
        release.wait()
        return Probe.yes()

    backend = answers(hang)
    try:
        found = probe(backend, limit=0.05)
        assert (found.available, found.reason) == (False, "its probe gave no answer within 0.05 s")
        assert found.hint
        begun = time.monotonic()
        assert not probe(backend, limit=60).available
        assert time.monotonic() - begun < 30
        assert asked == [1]
    finally:
        release.set()
