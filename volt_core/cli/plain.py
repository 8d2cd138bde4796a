"""Commands carried out without typer: ``volt start web db``, ``volt cas gc --grace 0``.

To import the library that parses command lines takes longer than all that Volt itself does for a start. So the tables
say of some commands how they look when every word is in its place and every option is spelled out; whatever looks
otherwise goes the usual way, which also has all the messages. Tests hold the two to the same answers.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from volt_core.cli.entry import FLAG, NAMES, Entry, Plain, Table
from volt_core.cli.session import Session
from volt_core.cli.tables import GROUPS, TOP
from volt_core.config import MAX_SECONDS
from volt_core.errors import VoltError
from volt_core.names import check_name


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= MAX_SECONDS:
        raise ValueError(text)
    return number


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    NAMES: check_name,
    "text": str,
    "path": Path,
    "seconds": _seconds,
}
"""What makes a value of a word, by the kinds that :class:`Plain` names; ValueError or InvalidName: it is none."""


def find_plain(words: Sequence[str]) -> Callable[[], None] | None:
    """Return what carries these words out, or None if they are for typer."""
    root = None
    if words[:1] == ["--root"] and len(words) > 1:
        root, words = words[1], words[2:]
    session = Session(root)
    found = _find(words, session)
    if found is None:
        return None
    plain, rest = found
    try:
        values, options = _read(plain, rest)
    except (ValueError, VoltError):
        return None

    def act() -> None:
        with contextlib.closing(session):
            _load(plain.target)(session.volt, *values, **options)

    return act


def _find(words: Sequence[str], session: Session) -> tuple[Plain, Sequence[str]] | None:
    """Return the command that is meant, and the words behind it."""
    table: Table = TOP
    first, *rest = words or ("",)
    if rest and first in GROUPS:
        table, (first, *rest) = GROUPS[first], rest
    elif rest and first not in TOP and not first.startswith("-"):
        table, (first, *rest) = _table_of_plugin(first, session), rest
    entry: Entry | None = table.get(first)
    return (entry.plain, rest) if entry and entry.plain else None


def _table_of_plugin(name: str, session: Session) -> Table:
    try:
        group = session.volt.plugins.find_command_group(name)
        return _load(group.table) if group and group.table else {}
    except Exception:  # the plugin boundary: the usual way says what is wrong
        return {}


def _read(plain: Plain, words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments and options. Raises ValueError or InvalidName where they are not the plain ones."""
    values: list[Any] = []
    options: dict[str, Any] = {}
    kinds = list(plain.words)
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            kind, name = plain.options.get(word), word.lstrip("-").replace("-", "_")
            if kind is None or name in options:
                raise ValueError(word)
            options[name] = True if kind == FLAG else _value(kind, next(rest, ""))
        elif kinds:
            values.append(_value(kinds[0], word))
            if kinds[0] != NAMES:
                kinds.pop(0)
        else:
            raise ValueError(word)
    if kinds and not (kinds == [NAMES] and values):
        raise ValueError("something is missing")
    return values, options


def _value(kind: str, word: str) -> Any:
    # Nothing that is Volt's begins with a dash; whether it was meant as an option is for the usual way to say.
    if not word or word.startswith("-"):
        raise ValueError(word)
    return _READERS[kind](word)


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
