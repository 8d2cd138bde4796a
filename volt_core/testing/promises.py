"""The numbered promises of the contracts, as the documentation has them: what a case that fails is about.

The texts are those of ``docs/*-contract.md``. An installed Volt has copies of these files, in ``docs`` beside this
module; in the repository that is a link.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_DOCS = Path(__file__).parent / "docs"
_PROMISE = re.compile(r"^### ([A-Z]-\d+) (.+)\n((?:(?!#).*\n?)*)", re.MULTILINE)
_CASE = re.compile(r"test((?:_[a-z]\d+)+)_")


class Promise(NamedTuple):
    """One promise: its text is Markdown, and `place` is where to read it among the others."""

    number: str
    title: str
    text: str
    place: str


@functools.cache
def promises() -> Mapping[str, Promise]:
    """Return all promises by number."""
    return {
        number: Promise(number, title, text.strip(), f"docs/{path.name}")
        for path in sorted(_DOCS.glob("*-contract.md"))
        for number, title, text in _PROMISE.findall(path.read_text("utf-8"))
    }


def promises_of(case: str) -> list[Promise]:
    """Return the promises that the name of a case carries: ``test_b11_b13_a_frozen_one`` has two."""
    match = _CASE.match(case)
    numbers = re.findall(r"([a-z])(\d+)", match[1]) if match else []
    names = [f"{letter.upper()}-{number}" for letter, number in numbers]
    return [promises()[name] for name in names if name in promises()]


def quotations(kit: type | None, case: str) -> list[tuple[str, str]]:
    """Return title and text of the promises that a case of a kit is about; none for a test that is no such case."""
    bases = kit.__mro__ if kit is not None else ()
    if not any(case in vars(base) and base.__module__.startswith(f"{__package__}.") for base in bases):
        return []
    return [(f"{it.number} {it.title}, from {it.place}", it.text) for it in promises_of(case)]
