"""``volt cas build`` and ``checkout``: into the store, and out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volt_cas.commands import direct
from volt_cas.commands.arguments import RefName
from volt_core.cli.options import AsJson, some_path
from volt_core.cli.session import volt_of
from volt_core.contracts import MtimePolicy


def build(
    ctx: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="What to store.", show_default=False, parser=some_path)
    ],
    ref: Annotated[str, typer.Option("--ref", metavar="NAME", help="Name to give the tree.")] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Leave out: a name, or a path with a slash in it."),
    ] = None,
    one_file_system: Annotated[bool, typer.Option("--one-file-system", "-x", help="Stay on one file system.")] = False,
    mtime: Annotated[
        MtimePolicy | None,
        typer.Option("--mtime", help="Keep modification times, or set all to 0; else as configured."),
    ] = None,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Link the files in, do not copy them: nobody may write to DIR from then on."),
    ] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read files that look unchanged, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store a directory as a tree and print its digest.

    With --adopt the files of DIR become the store's own, by hard links: whoever writes to one of them damages the
    store, so it is for trees that were made to be stored; remove DIR afterwards. What cannot be linked is copied, with
    a note: files on another file system, of another owner, with several names, or open for writing.
    """
    direct.build(
        volt_of(ctx),
        directory,
        ref=ref,
        exclude=exclude or (),
        one_file_system=one_file_system,
        mtime=mtime,
        adopt=adopt,
        rehash=rehash,
        json=as_json,
    )


def checkout(
    ctx: typer.Context,
    name: RefName,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="New or empty directory.", show_default=False, parser=some_path)
    ],
    reflink: Annotated[bool, typer.Option("--reflink", help="Share blocks, or fail: never copy.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Copy even where blocks could be shared.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Hard links into the store: never write to them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a stored tree on disk, by reflink where the file system can, else by copy."""
    direct.checkout(volt_of(ctx), name, directory, reflink=reflink, copy=copy, link=link, json=as_json)
