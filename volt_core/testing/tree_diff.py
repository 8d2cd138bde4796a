"""Differences of two lists of entries: by path, with no trick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from volt_core.contracts import Aspect, Change, ChangeKind, Entry, EntryType


def compare(before: Sequence[Entry], after: Sequence[Entry]) -> Iterator[Change]:
    """Yield the changes, parents first, names in byte order."""
    old, new = ({entry.path: entry for entry in entries} for entries in (before, after))
    old_members, new_members = _members(before), _members(after)
    for path in sorted(old.keys() | new.keys(), key=lambda path: path.split(b"/")):
        left, right = old.get(path), new.get(path)
        if left is None or right is None:
            kind = ChangeKind.ADDED if left is None else ChangeKind.REMOVED
            yield Change(path=path, kind=kind, before=left, after=right)
            continue
        found = list(_aspects(left, right))
        if old_members.get(path) != new_members.get(path):
            found.append(Aspect.HARDLINKS)
        if found:
            yield Change(path=path, kind=ChangeKind.CHANGED, aspects=tuple(found), before=left, after=right)


def _aspects(old: Entry, new: Entry) -> Iterator[Aspect]:
    if old.type is not new.type:
        yield Aspect.TYPE
    elif old.type is EntryType.FILE and old.digest != new.digest:
        yield Aspect.CONTENT
    elif old.target != new.target:
        yield Aspect.TARGET
    elif old.device != new.device:
        yield Aspect.DEVICE
    pairs = (
        (Aspect.MODE, old.mode, new.mode),
        (Aspect.OWNER, (old.uid, old.gid), (new.uid, new.gid)),
        (Aspect.TIME, old.mtime_ns, new.mtime_ns),
        (Aspect.XATTRS, old.xattrs, new.xattrs),
    )
    for aspect, left, right in pairs:
        if left != right:
            yield aspect


def _members(entries: Sequence[Entry]) -> dict[bytes, list[bytes]]:
    groups: dict[int, list[bytes]] = {}
    for entry in entries:
        if entry.hardlink_group:
            groups.setdefault(entry.hardlink_group, []).append(entry.path)
    return {path: members for members in groups.values() for path in members}
