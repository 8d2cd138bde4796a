"""Comparing the trees of two bundles, path by path, while both are walked: no tree is in memory as a list of paths."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from volt_core.contracts import Entry, EntryType, Ref

Item = TypeVar("Item")
Tree = tuple[Ref, Iterator[Entry]]
Trees = Iterable[Tree]
_FIELDS = ("type", "mode", "uid", "gid", "mtime_ns", "size", "target", "device", "xattrs")
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


class Change(NamedTuple):
    """One difference. Without a path it is about the ref as a whole."""

    ref: str
    what: str
    path: bytes | None = None
    fields: tuple[str, ...] = ()
    """Names of the fields of :class:`Entry`, or of :class:`Ref`, that differ."""

    @property
    def sign(self) -> str:
        """Return what stands before it in a listing."""
        return _SIGNS[self.what]


def changed_paths(first: Trees, second: Trees) -> Iterator[Change]:
    """Yield what the second has that the first has not, and the other way round, in the order of the trees.

    Trees are compared that have one name; of bundles with one tree each, these, whatever their names.
    """
    ones, others = list(first), list(second)
    if len(ones) == len(others) == 1:
        yield from _changed_tree(*ones, *others)
        return
    for what, one, other in _merged(ones, others, lambda tree: [tree[0].name.encode()]):
        if what == "changed":
            yield from _changed_tree(one, other)
        else:
            yield Change(one[0].name, what)


def count_changes(changes: Iterable[Change]) -> str:
    """Return how many there are, for people."""
    counts = dict.fromkeys(_SIGNS, 0)
    for change in changes:
        counts[change.what] += 1
    return ", ".join(f"{count} {what}" for what, count in counts.items())


def _changed_tree(one: Tree, other: Tree) -> Iterator[Change]:
    (old, old_entries), (new, new_entries) = one, other
    fields = tuple(name for name in ("kind", "meta") if getattr(old, name) != getattr(new, name))
    if fields:
        yield Change(new.name, "changed", None, fields)
    if old.digest == new.digest:
        return
    for what, entry, changed in _merged(old_entries, new_entries, lambda entry: entry.path.split(b"/")):
        fields = tuple(_differing(entry, changed))
        if fields or what != "changed":
            yield Change(new.name, what, entry.path, fields)


def _differing(one: Entry, other: Entry) -> Iterator[str]:
    yield from (name for name in _FIELDS if getattr(one, name) != getattr(other, name))
    # A directory's digest differs with anything below it, and groups are numbered per tree.
    if one.digest != other.digest and one.type is not EntryType.DIRECTORY:
        yield "digest"
    if bool(one.hardlink_group) != bool(other.hardlink_group):
        yield "hardlink_group"


def _merged(
    first: Iterable[Item], second: Iterable[Item], key: Callable[[Item], list[bytes]]
) -> Iterator[tuple[str, Item, Item]]:
    """Yield what both have as "changed", with both; what one has as "added" or "removed", twice. Both are sorted."""
    # Where keys are equal, merge gives the item of the first before that of the second.
    merged = heapq.merge(_keyed(first, key, "removed"), _keyed(second, key, "added"), key=lambda it: it[0])
    for _, found in itertools.groupby(merged, key=lambda it: it[0]):
        (_, what, item), *more = found
        yield ("changed", item, more[0][2]) if more else (what, item, item)


def _keyed(
    items: Iterable[Item], key: Callable[[Item], list[bytes]], what: str
) -> Iterator[tuple[list[bytes], str, Item]]:
    return ((key(item), what, item) for item in items)
