"""``volt cas build`` and ``checkout``: into the store, and out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volt_cas.commands.words import RefName, check_own_ref, find_digest, say_notes
from volt_core.cli.messages import say, warn
from volt_core.cli.options import some_path
from volt_core.cli.progress import shown_progress
from volt_core.cli.render import AsJson, print_json, size
from volt_core.cli.session import volt_of
from volt_core.contracts import CheckoutMode, MtimePolicy, Ref
from volt_core.errors import UsageError


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
    if ref:
        check_own_ref(ref)
    volt = volt_of(ctx, mtime=mtime)
    with shown_progress() as progress:
        result = volt.store.put_directory(
            directory,
            ref=Ref(name=ref, digest="") if ref else None,
            exclude=exclude or (),
            one_file_system=one_file_system,
            mtime=MtimePolicy(volt.config.values.mtime),
            adopt=adopt,
            rehash=rehash,
            progress=progress,
        )
    say_notes(result.notes)
    if as_json:
        print_json("cas-put", result)
        return
    print(result.digest)
    say(
        f"{result.files} files, {size(result.bytes)}; new: {result.new_objects} objects, {size(result.new_bytes)}"
        + ("" if ref else "; no ref names it, so the next gc may remove it")
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
    chosen = [
        mode
        for mode, given in ((CheckoutMode.REFLINK, reflink), (CheckoutMode.COPY, copy), (CheckoutMode.LINK, link))
        if given
    ]
    if len(chosen) > 1:
        first, second = chosen[:2]
        raise UsageError(f"--{first} and --{second} contradict each other", hint="Choose one.")
    if link:
        warn("the files are links into the store: whoever writes to them damages it, treat them as read-only")
    mode = chosen[0] if chosen else CheckoutMode.AUTO
    store = volt_of(ctx).store
    digest = find_digest(store, name)
    with shown_progress() as progress:
        result = store.checkout(digest, directory, mode=mode, progress=progress)
    say_notes(result.notes)
    if as_json:
        print_json("cas-checkout", result)
        return
    copied = result.files - result.linked - result.reflinked
    say(
        f"{result.files} files, {size(result.bytes)}: "
        f"{result.reflinked} reflinked, {result.linked} linked, {copied} copied"
    )
