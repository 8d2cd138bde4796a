"""``volt cas ls``, ``show`` and ``cat``: into stored trees."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from typing import Annotated, Any

import typer

from volt_cas import below
from volt_cas.commands.arguments import RefName
from volt_cas.commands.entries import row, summary
from volt_cas.commands.words import as_path, find_digest, find_ref
from volt_core.cli.options import AsJson
from volt_core.cli.render import print_json, print_table
from volt_core.cli.session import volt_of
from volt_core.contracts import EntryType

_PIECE = 1024 * 1024


def list_(
    ctx: typer.Context,
    name: RefName,
    path: Annotated[str, typer.Argument(metavar="PATH", help="What to list in the tree.")] = "",
    long: Annotated[bool, typer.Option("--long", "-l", help="With type, mode, owner, size and time.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Also what is below directories.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what a stored tree holds."""
    store = volt_of(ctx).store
    entries = list(store.entries(find_digest(store, name), as_path(path), recursive=recursive))
    if entries[0].type is EntryType.DIRECTORY:
        del entries[0]
    if as_json:
        print_json("cas-entries", [summary(entry) for entry in entries])
    elif long:
        print_table(("MODE", "OWNER", "SIZE", "MODIFIED", "PATH"), map(row, entries))
    else:
        for entry in entries:
            print(below.shown(entry.path))


def show(
    ctx: typer.Context,
    name: RefName,
    path: Annotated[str, typer.Argument(metavar="PATH", help="An entry of the tree.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document: so it always is.")] = False,
) -> None:
    """Print as JSON all that the store knows of a ref and its tree, or the record of one entry.

    A directory is shown with what it holds, one level; what the tree holds in all is counted.
    """
    store = volt_of(ctx).store
    digest = find_digest(store, name)
    top, *children = store.entries(digest, as_path(path), recursive=False)
    document: dict[str, Any] = {"tree": digest, "entry": summary(top)}
    if not top.path:
        document = {"ref": find_ref(store, name), **document}
        counts: Counter[str] = Counter()
        content = 0
        for entry in store.entries(digest):
            counts[entry.type.name.lower()] += 1
            content += entry.size
        document["counts"] = {**counts, "bytes": content}
    if top.type is EntryType.DIRECTORY:
        document["entries"] = [summary(entry) for entry in children]
    print_json("cas-show", document)


def cat(
    ctx: typer.Context,
    name: RefName,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file of the tree.", show_default=False)],
) -> None:
    """Write the content of a file to stdout; symlinks are followed inside the tree."""
    store = volt_of(ctx).store
    with store.open_file(find_digest(store, name), as_path(path)) as stream:
        shutil.copyfileobj(stream, sys.stdout.buffer, _PIECE)
    sys.stdout.buffer.flush()
