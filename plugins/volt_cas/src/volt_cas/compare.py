"""Differences of two stored trees. Equal subtrees have equal digests and are not even read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from volt_cas import below
from volt_cas.browse import entry_of
from volt_cas.layout import Layout
from volt_cas.objects import read_directory, read_groups, read_tree
from volt_cas.record import (
    BlockEntry,
    CharacterEntry,
    DirectoryEntry,
    FileEntry,
    Node,
    SymlinkEntry,
    TreeRecord,
)
from volt_core.contracts import Aspect, Change, ChangeKind

_Pair = tuple[bytes, Node | None, Node | None]


def diff(layout: Layout, before: bytes, after: bytes) -> Iterator[Change]:
    """See :meth:`volt_core.contracts.Store.diff`."""
    if before != after:
        old, new = read_tree(layout, before), read_tree(layout, after)
        yield from _Comparison(layout, old, new).run(_as_entry(old), _as_entry(new))
    else:
        read_tree(layout, before)


def _as_entry(tree: TreeRecord) -> DirectoryEntry:
    return DirectoryEntry(b"", tree.metadata, tree.digest)


class _Comparison:
    def __init__(self, layout: Layout, before: TreeRecord, after: TreeRecord) -> None:
        self._layout = layout
        self._groups_before = read_groups(layout, before)
        self._groups_after = read_groups(layout, after)
        self._regrouped: frozenset[bytes] = frozenset()
        if before.links != after.links:
            old, new = _members(self._groups_before), _members(self._groups_after)
            self._regrouped = frozenset(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
        # Links are no part of a directory's record: these are equal and must be entered all the same.
        self._on_the_way = {path[:end] for path in self._regrouped for end in _slashes(path)}

    def run(self, before: DirectoryEntry, after: DirectoryEntry) -> Iterator[Change]:
        stack: list[Iterator[_Pair]] = [iter([(b"", before, after)])]
        while stack:
            pair = next(stack[-1], None)
            if pair is None:
                stack.pop()
                continue
            path, old, new = pair
            change = self._change(path, old, new)
            if change:
                yield change
            if self._is_equal_below(path, old, new):
                continue
            stack.append(self._children(path, old, new, len(stack) - 1))

    def _is_equal_below(self, path: bytes, old: Node | None, new: Node | None) -> bool:
        inside = {node.digest for node in (old, new) if isinstance(node, DirectoryEntry)}
        both = isinstance(old, DirectoryEntry) and isinstance(new, DirectoryEntry)
        return not inside or (both and len(inside) == 1 and bool(path) and path not in self._on_the_way)

    def _children(self, path: bytes, old: Node | None, new: Node | None, depth: int) -> Iterator[_Pair]:
        olds, news = (
            {entry.name: entry for entry in read_directory(self._layout, node.digest, depth).entries}
            if isinstance(node, DirectoryEntry)
            else {}
            for node in (old, new)
        )
        for name in sorted(olds.keys() | news.keys()):
            yield below.join(path, name), olds.get(name), news.get(name)

    def _change(self, path: bytes, old: Node | None, new: Node | None) -> Change | None:
        before = entry_of(path, old, self._groups_before) if old else None
        after = entry_of(path, new, self._groups_after) if new else None
        if old is None or new is None:
            return Change(
                path=path, kind=ChangeKind.ADDED if old is None else ChangeKind.REMOVED, before=before, after=after
            )
        aspects = tuple(_aspects(old, new))
        if path in self._regrouped:
            aspects = (*aspects, Aspect.HARDLINKS)
        if not aspects:
            return None
        return Change(path=path, kind=ChangeKind.CHANGED, aspects=aspects, before=before, after=after)


def _aspects(old: Node, new: Node) -> Iterator[Aspect]:
    if type(old) is not type(new):
        yield Aspect.TYPE
    elif isinstance(old, FileEntry) and isinstance(new, FileEntry) and old.digest != new.digest:
        yield Aspect.CONTENT
    elif isinstance(old, SymlinkEntry) and isinstance(new, SymlinkEntry) and old.target != new.target:
        yield Aspect.TARGET
    elif _device(old) != _device(new):
        yield Aspect.DEVICE
    before, after = old.metadata, new.metadata
    if before.mode != after.mode:
        yield Aspect.MODE
    if (before.uid, before.gid) != (after.uid, after.gid):
        yield Aspect.OWNER
    if before.mtime_ns != after.mtime_ns:
        yield Aspect.TIME
    if before.xattrs != after.xattrs:
        yield Aspect.XATTRS


def _members(groups: Mapping[bytes, int]) -> dict[bytes, Sequence[bytes]]:
    found: dict[int, list[bytes]] = {}
    for path, number in groups.items():
        found.setdefault(number, []).append(path)
    return {path: members for members in found.values() for path in members}


def _slashes(path: bytes) -> Iterator[int]:
    return (index for index, byte in enumerate(path) if byte == ord("/"))


def _device(node: Node) -> tuple[int, int] | None:
    return (node.major, node.minor) if isinstance(node, CharacterEntry | BlockEntry) else None
