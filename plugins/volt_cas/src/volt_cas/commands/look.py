"""``volt cas ls``: into stored trees."""

from __future__ import annotations

from typing import Annotated

import typer

from volt_cas import below
from volt_cas.commands.entries import row, summary
from volt_cas.commands.words import RefName, find_digest
from volt_core.cli.render import AsJson, print_json, print_table
from volt_core.cli.session import volt_of
from volt_core.contracts import EntryType


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
    top = path.strip("/").encode("utf-8", "surrogateescape")
    entries = list(store.entries(find_digest(store, name), top, recursive=recursive))
    if entries[0].type is EntryType.DIRECTORY:
        del entries[0]
    if as_json:
        print_json("cas-entries", [summary(entry) for entry in entries])
    elif long:
        print_table(("MODE", "OWNER", "SIZE", "MODIFIED", "PATH"), map(row, entries))
    else:
        for entry in entries:
            print(below.shown(entry.path))
