"""Moments as people write them: how long ago, a date, a clock time, seconds since 1970."""

from __future__ import annotations

import datetime
import re
import time
from decimal import Decimal

import typer

from volt_core.names import shown

_SECOND = 10**9
_MOST = 2**63 - 1
"""What a signed 64-bit number of nanoseconds holds: the year 2262."""
_UNITS = {
    "ms": 1_000_000,
    **dict.fromkeys(("s", "sec", "second", "seconds"), _SECOND),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60 * _SECOND),
    **dict.fromkeys(("h", "hour", "hours"), 3600 * _SECOND),
    **dict.fromkeys(("d", "day", "days"), 86_400 * _SECOND),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86_400 * _SECOND),
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_PART = rf"({_NUMBER}) ?({'|'.join(sorted(_UNITS, key=len, reverse=True))})(?![a-z])"
_AGO = re.compile(rf"-?(?:{_PART} ?)+?(?: ?ago)?\Z")
_SINCE_1970 = re.compile(rf"@?({_NUMBER})\Z")
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?\Z")
_DAYS = {"today": 0, "yesterday": 1}


def moment_of(text: str) -> int:
    """Parse the value of an option into nanoseconds since the epoch, at least 1."""
    try:
        return min(max(1, parse_moment(text.strip(), time.time_ns())), _MOST)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{shown(text)} is no time; write 10m, 2h30m, 13:00, yesterday, '2026-01-31 13:00' or seconds since 1970"
        ) from error


def parse_moment(text: str, now: int) -> int:
    """Return nanoseconds since the epoch; what has no zone is local. Raises ValueError, OverflowError."""
    if text == "now":
        return now
    if match := _SINCE_1970.match(text):
        return int(Decimal(match[1]) * _SECOND)
    if _AGO.match(text):
        return now - sum(int(Decimal(number) * _UNITS[unit]) for number, unit in re.findall(_PART, text))
    today = datetime.datetime.fromtimestamp(now // _SECOND).date()
    if text in _DAYS:
        return _nanoseconds(datetime.datetime.combine(today - datetime.timedelta(_DAYS[text]), datetime.time()))
    if _CLOCK.match(text):
        return _nanoseconds(datetime.datetime.combine(today, datetime.time.fromisoformat(text.rjust(5, "0"))))
    return _nanoseconds(datetime.datetime.fromisoformat(re.sub(r" ?UTC\Z", "Z", text)))


def _nanoseconds(moment: datetime.datetime) -> int:
    # Whole seconds by themselves: as a float the sum would not be exact.
    return int(moment.replace(microsecond=0).timestamp()) * _SECOND + moment.microsecond * 1000
