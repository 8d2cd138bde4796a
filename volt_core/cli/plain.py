"""Verbs with names and nothing else: ``volt start web db``, carried out without typer.

To import the library that parses command lines takes longer than all that Volt itself does for a start. Whatever has an
option, or a word that is no name, goes the usual way; tests hold the two to the same answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from volt_core.cli.exits import Failures
from volt_core.cli.session import Session
from volt_core.cli.tables import GROUPS, TOP, VERBS
from volt_core.errors import InvalidName
from volt_core.names import check_name

if TYPE_CHECKING:
    from volt_core.workloads import Workloads

    Verb = Callable[[Workloads, Sequence[str]], None]
_GROUPS = ("container", "workload")


def each(names: Sequence[str], act: Callable[[str], int | None]) -> None:
    """Act on each name and print what came out, or the name; one that fails does not keep the others."""
    failures = Failures()
    for name in names:
        with failures.collect():
            result = act(name)
            print(name if result is None else result, flush=True)
    failures.leave()


def start(workloads: Workloads, names: Sequence[str]) -> None:
    """Start workloads, several at a time."""
    if len(names) == 1:
        each(names, workloads.start)
        return
    from volt_core.cli.at_once import begin_all

    workloads.renew(names)
    begun = iter(begin_all(names, workloads.start))
    each(names, lambda _: next(begun).result())


_PLAIN: Mapping[str, Verb] = {
    VERBS["start"].target: start,
    VERBS["stop"].target: lambda workloads, names: each(names, workloads.stop),
    VERBS["restart"].target: lambda workloads, names: each(names, workloads.restart),
    VERBS["freeze"].target: lambda workloads, names: each(names, workloads.freeze),
    VERBS["thaw"].target: lambda workloads, names: each(names, workloads.thaw),
    VERBS["delete"].target: lambda workloads, names: each(names, workloads.delete),
}


def find_plain(words: Sequence[str]) -> Callable[[], None] | None:
    """Return what carries these words out, or None if they are more than a verb and names."""
    table, (first, *names) = TOP, words or ("",)
    if first in _GROUPS and names:
        table, (first, *names) = GROUPS[first], names
    verb = _PLAIN.get(table[first].target) if first in table else None
    if verb is None or not names or not all(map(_is_name, names)):
        return None

    def act() -> None:
        with _session() as session:
            verb(session.volt.workloads, names)

    return act


@contextlib.contextmanager
def _session() -> Iterator[Session]:
    session = Session(None)
    try:
        yield session
    finally:
        session.close()


def _is_name(word: str) -> bool:
    with contextlib.suppress(InvalidName):
        return bool(check_name(word))
    return False
