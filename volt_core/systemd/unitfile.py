"""Unit files as data: what is rendered, how values are quoted, and what stands in a file.

The syntax is that of systemd.syntax(7) and, for command lines, systemd.service(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from volt_core.errors import InvalidSpec

_CONTINUED = re.compile(r"(?<!\\)(\\\\)*\\\Z")
"""A backslash that no other one before it escapes, with nothing behind it."""
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@,+~^-]+\Z")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "$": "$$", "%": "%%"}


class Section(msgspec.Struct, frozen=True):
    """One section: assignments in order; a key may stand there more than once."""

    name: str
    entries: tuple[tuple[str, str], ...]


class Unit(msgspec.Struct, frozen=True):
    """A unit file; values are written as they are, so whoever makes one has escaped them."""

    sections: tuple[Section, ...]

    def values(self, section: str, key: str) -> list[str]:
        """Return what is assigned to a key, in order."""
        return [value for part in self.sections if part.name == section for name, value in part.entries if name == key]


def render_unit(unit: Unit) -> str:
    """Return the text of a unit file."""
    return "\n".join(f"[{section.name}]\n{_render_entries(section.entries)}" for section in unit.sections)


def _render_entries(entries: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{key}={value}\n" for key, value in entries)


def parse_unit(text: str) -> Unit:
    """Read a unit file. Comments are dropped, continued lines joined; what is no assignment is passed over."""
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    for line in _logical_lines(text):
        if line.startswith("[") and line.endswith("]"):
            sections.append((line[1:-1], []))
            continue
        key, equals, value = line.partition("=")
        if sections and equals:
            sections[-1][1].append((key.strip(), value.strip()))
    return Unit(tuple(Section(name, tuple(entries)) for name, entries in sections))


def _logical_lines(text: str) -> Iterable[str]:
    pending = ""
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith(("#", ";")):
            continue
        if _CONTINUED.search(raw):
            pending += line[:-1] + " "
            continue
        if pending + line:
            yield (pending + line).strip()
        pending = ""
    if pending:
        yield pending.strip()


def escape_specifiers(text: str) -> str:
    """Return a value in which ``%`` stands for itself. Raises :class:`InvalidSpec` for one with a line break."""
    if "\n" in text or "\r" in text:
        raise InvalidSpec(f"A unit cannot hold {text!r}: it has a line break")
    return text.replace("%", "%%")


def quote_word(text: str) -> str:
    """Return one word of a command line, so that systemd reads it back as it is."""
    if _PLAIN.match(text):
        return text
    return '"' + "".join(_ESCAPES.get(char) or _escape_control(char) for char in text) + '"'


def _escape_control(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 32 or ord(char) == 127 else char


def quote_exec(argv: Sequence[str]) -> str:
    """Return the value of ExecStart= and its like; the program's path stands first and is absolute."""
    return " ".join(map(quote_word, argv))
