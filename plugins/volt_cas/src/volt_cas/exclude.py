"""What a build leaves out: shell patterns, of which ``*`` also takes slashes.

A pattern with a slash is compared with the whole path below the source, one without with the last component, at any
depth. The Python code compares by :mod:`fnmatch`; for the extension a pattern is taken apart the same way into the
program that ``csrc/glob.h`` describes.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence

from volt_core.native.ingest import Glob

_END, _ONE, _NONE_OF, _MANY = range(4)
_LAST = 0x10FFFF


class Matcher:
    """Tells what the patterns match."""

    def __init__(self, patterns: Sequence[str]) -> None:
        patterns = [pattern.rstrip("/") for pattern in patterns]
        self._paths = [pattern.lstrip("/") for pattern in patterns if "/" in pattern]
        self._names = [pattern for pattern in patterns if "/" not in pattern]

    def __call__(self, path: bytes) -> bool:
        text = os.fsdecode(path)
        name = text.rpartition("/")[2]
        return any(fnmatch.fnmatchcase(text, pattern) for pattern in self._paths) or any(
            fnmatch.fnmatchcase(name, pattern) for pattern in self._names
        )

    def globs(self) -> tuple[Glob, ...]:
        """Return the same patterns for the extension."""
        return tuple(
            Glob(compile_pattern(pattern), whole)
            for whole, patterns in ((True, self._paths), (False, self._names))
            for pattern in patterns
        )


def compile_pattern(pattern: str) -> tuple[int, ...]:
    """Return the program that matches what :func:`fnmatch.fnmatchcase` does."""
    program: list[int] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            program.append(_MANY)
        elif character == "?":
            program += (_ONE, 1, 0, _LAST)
        elif character == "[" and (end := _end_of_set(pattern, at)) is not None:
            program += _set(pattern[at:end])
            at = end + 1
        else:
            program += (_ONE, 1, ord(character), ord(character))
    return (*program, _END)


def _end_of_set(pattern: str, start: int) -> int | None:
    """Return where the ``]`` is that ends a set, or None for a bracket that is only a character."""
    at = start
    if pattern[at : at + 1] == "!":
        at += 1
    if pattern[at : at + 1] == "]":
        at += 1
    end = pattern.find("]", at)
    return None if end < 0 else end


def _set(text: str) -> Iterator[int]:
    negated = text.startswith("!")
    ranges = list(_ranges(text[negated:]))
    yield from (_NONE_OF if negated else _ONE, len(ranges))
    for first, last in ranges:
        yield from (first, last)


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    """Yield what is between brackets; a range whose end is before its start has nothing in it."""
    at = 0
    while at < len(text):
        if text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            first, last = ord(text[at]), ord(text[at + 2])
            if first <= last:
                yield first, last
            at += 3
        else:
            yield ord(text[at]), ord(text[at])
            at += 1
