"""Moments as people write them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import typer

from volt_core.cli.times import moment_of, parse_moment

SECOND = 10**9
NOW = 1_795_699_194 * SECOND + 123_456_789  # 2026-11-26 13:19:54 UTC
TODAY = 1_795_651_200 * SECOND


@pytest.fixture(params=["UTC", "Asia/Kolkata"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A local time zone; the value is its distance from UTC in nanoseconds."""
    offset = {"UTC": 0, "Asia/Kolkata": 19_800}[request.param]
    monkeypatch.setenv("TZ", {"UTC": "UTC0", "Asia/Kolkata": "IST-5:30"}[request.param])
    time.tzset()
    yield offset * SECOND
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("30s", 30),
        ("10m", 600),
        ("10min", 600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("2 hours ago", 7200),
        ("1 day 2 hours ago", 93_600),
        ("-1h", 3600),
        ("1d", 86_400),
        ("2 weeks", 1_209_600),
        ("now", 0),
    ],
)
def test_how_long_ago(text: str, ago: int) -> None:
    assert parse_moment(text, NOW) == NOW - ago * SECOND


def test_a_moment_of_a_log_is_exact() -> None:
    assert parse_moment("1795699194.123456789", NOW) == NOW
    assert parse_moment("@1795699194", NOW) == NOW // SECOND * SECOND
    assert parse_moment("2026-11-26T13:19:54.123456Z", NOW) == NOW // 1000 * 1000


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("2026-11-26", 0),
        ("2026-11-26 13:00", 13 * 3600),
        ("2026-11-26T13:00:05", 13 * 3600 + 5),
        ("2026-11-26 13:00:05.25", 13 * 3600 + 5.25),
        ("today", 0),
        ("yesterday", -86_400),
        ("13:00", 13 * 3600),
        ("9:00", 9 * 3600),
        ("13:00:05", 13 * 3600 + 5),
    ],
)
def test_what_names_no_zone_is_local(zone: int, text: str, local: float) -> None:
    assert parse_moment(text, NOW) == TODAY + int(local * SECOND) - zone


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    "text",
    ["2026-11-26T13:00:00Z", "2026-11-26T14:00:00+01:00", "2026-11-26 13:00:00 UTC", "2026-11-26 13:00 UTC"],
)
def test_a_zone_counts(text: str) -> None:
    assert parse_moment(text, NOW) == TODAY + 13 * 3600 * SECOND


@pytest.mark.parametrize(
    "text", ["", "soon", "1y", "inf", "nan", "1e3", "m", "10 m m", "25:00", "2026-13-01", "ago", "--", "٣m", "1h;"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no time; write 10m"):
        moment_of(text)


@pytest.mark.parametrize(("text", "moment"), [("0", 1), ("1970-01-01T00:00Z", 1), ("9" * 30, 2**63 - 1)])
def test_a_moment_is_never_none(text: str, moment: int) -> None:
    assert moment_of(text) == moment
