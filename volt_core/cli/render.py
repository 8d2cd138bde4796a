"""Output: aligned tables for people, one JSON document for programs, bare names for scripts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print left-aligned columns, two blanks apart."""
    cells = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(schema: str, value: Any) -> None:
    """Print ``{"schema": "volt.SCHEMA.v1", …}``; a list goes under ``items``."""
    body = msgspec.to_builtins(value, enc_hook=_encode_other)
    document = {"schema": f"volt.{schema}.v1", **(body if isinstance(body, dict) else {"items": body})}
    data = msgspec.json.format(msgspec.json.encode(document), indent=2)
    sys.stdout.write(data.decode() + "\n")


def print_names(names: Iterable[str]) -> None:
    """Print one name a line."""
    for name in names:
        print(name)


def size(number: float) -> str:
    """Return ``12.3 MiB``."""
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def age(time_ns: int) -> str:
    """Return ``3 min`` for a moment three minutes ago, ``-`` for none."""
    if not time_ns:
        return "-"
    seconds = max(0, (time.time_ns() - time_ns) // 1_000_000_000)
    for length, unit in _AGES:
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return "now"


def moment(time_ns: int) -> str:
    """Return an ISO 8601 time in UTC, ``-`` for none."""
    if not time_ns:
        return "-"
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // 1_000_000_000))


def _encode_other(value: Any) -> Any:
    return str(value)
