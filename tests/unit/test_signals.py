"""Signals by name and number."""

from __future__ import annotations

import pytest

from volt_core.errors import InvalidSpec
from volt_core.models.signals import parse_signal


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", 15),
        ("sigterm", 15),
        ("9", 9),
        ("SIGRTMIN", 34),
        ("64", 64),
        ("usr1", 10),
        ("RTMIN+3", 37),
        ("sigrtmax-1", 63),
    ],
)
def test_signals(text, number):
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "-9", "TERMINATE", "SIG_DFL", "²", "9 ", "1e1", "RTMIN+99", "RTMAX+1", "TERM+1"]
)
def test_bad_signals(text):
    with pytest.raises(InvalidSpec, match="Unknown signal"):
        parse_signal(text)
