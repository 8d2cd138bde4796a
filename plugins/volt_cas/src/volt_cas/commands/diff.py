"""``volt cas diff``: what differs between two trees."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from volt_cas import below
from volt_cas.commands.entries import exact_moment, summary
from volt_cas.commands.words import find_digest
from volt_core.cli.exits import leave
from volt_core.cli.options import AsJson
from volt_core.cli.render import print_json, size
from volt_core.cli.session import volt_of
from volt_core.contracts import Aspect, Change, ChangeKind, Entry, EntryType

_MARKS = {ChangeKind.ADDED: "+", ChangeKind.REMOVED: "-", ChangeKind.CHANGED: "~"}
_DIFFERENT = 1


def diff(
    ctx: typer.Context,
    before: Annotated[
        str, typer.Argument(metavar="A", help="A ref, an image or a digest of a tree.", show_default=False)
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="What to compare with it.", show_default=False)],
    counts: Annotated[bool, typer.Option("--stat", help="Only how much differs.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 1 if anything differs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what differs from tree A to tree B: added (+), removed (-), changed (~) and how.

    Subtrees that are equal are not even read.
    """
    store = volt_of(ctx).store
    changes = store.diff(find_digest(store, before), find_digest(store, after))
    found = False
    if counts:
        found = _show_counts(changes, as_json=as_json)
    elif as_json:
        documents = [_document(change) for change in changes]
        found = bool(documents)
        print_json("cas-diff", documents)
    else:
        for change in changes:
            found = True
            print(_line(change))
    if exit_code and found:
        leave(_DIFFERENT)


def _show_counts(changes: Iterable[Change], *, as_json: bool) -> bool:
    entries: Counter[ChangeKind] = Counter()
    content: Counter[ChangeKind] = Counter()
    for change in changes:
        entries[change.kind] += 1
        if change.kind is not ChangeKind.CHANGED or Aspect.CONTENT in change.aspects or Aspect.TYPE in change.aspects:
            content[change.kind] += (change.after or change.before or _nothing()).size
    if as_json:
        print_json("cas-diff-stat", {kind: {"entries": entries[kind], "bytes": content[kind]} for kind in ChangeKind})
    else:
        print(", ".join(f"{entries[kind]} {kind} ({size(content[kind])})" for kind in ChangeKind))
    return bool(entries)


def _line(change: Change) -> str:
    entry = change.after or change.before or _nothing()
    slash = "/" if entry.type is EntryType.DIRECTORY else ""
    line = f"{_MARKS[change.kind]} {below.shown(change.path)}{slash}"
    if change.before is None or change.after is None:
        return line
    return f"{line}: {', '.join(_told(change.aspects, change.before, change.after))}"


def _told(aspects: Iterable[Aspect], before: Entry, after: Entry) -> Iterator[str]:
    for aspect in aspects:
        match aspect:
            case Aspect.TYPE:
                yield f"type {before.type.name.lower()} -> {after.type.name.lower()}"
            case Aspect.MODE:
                yield f"mode {stat.S_IMODE(before.mode):04o} -> {stat.S_IMODE(after.mode):04o}"
            case Aspect.OWNER:
                yield f"owner {before.uid}:{before.gid} -> {after.uid}:{after.gid}"
            case Aspect.TIME:
                yield f"time {_time(before, after)}"
            case Aspect.TARGET:
                yield f"target {below.shown(before.target)} -> {below.shown(after.target)}"
            case Aspect.CONTENT if before.size != after.size:
                yield f"content {before.size} -> {after.size} bytes"
            case Aspect.DEVICE:
                yield f"device {before.device} -> {after.device}"
            case _:
                yield aspect.value


def _time(before: Entry, after: Entry) -> str:
    old, new = exact_moment(before.mtime_ns), exact_moment(after.mtime_ns)
    return f"{old} -> {new}" if old != new else f"{old}, by {after.mtime_ns - before.mtime_ns:+} ns"


def _document(change: Change) -> dict[str, Any]:
    document: dict[str, Any] = {"path": below.shown(change.path), "kind": change.kind, "aspects": change.aspects}
    if change.before:
        document["before"] = summary(change.before)
    if change.after:
        document["after"] = summary(change.after)
    return document


def _nothing() -> Entry:
    return Entry(path=b"", type=EntryType.FILE, mode=0, uid=0, gid=0, mtime_ns=0)
