"""``volt bundle``: trees that travel as one file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer

from volt_cas import below
from volt_cas.bundle.diff import Change, changed_paths, count_changes
from volt_cas.commands.words import check_own_ref, find_name, find_ref, say_notes
from volt_core.cli.lazy import new_app
from volt_core.cli.messages import say
from volt_core.cli.options import AsJson
from volt_core.cli.progress import shown_progress
from volt_core.cli.render import print_json, print_table, size
from volt_core.cli.session import volt_of
from volt_core.contracts import BundleBase, BundleManifest, Bundles, Compression, Ref
from volt_core.errors import ArchiveInvalid, CapabilityMissing, InvalidName, NotFoundError, RefNotFound, UsageError
from volt_core.images.outfile import open_new_file
from volt_core.images.records import PREFIX, from_ref
from volt_core.names import is_digest, shown

app = new_app(help="Trees as one file: write, look into, check and import bundles.")

FileName = Annotated[str, typer.Argument(metavar="FILE", help="A bundle, or '-' for stdin.", show_default=False)]


@app.callback()
def bundle() -> None:
    """Trees as one file: write, look into, check and import bundles."""


@app.command()
def create(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="File to write, or '-' for stdout.")] = "",
    refs: Annotated[
        list[str] | None, typer.Option("--ref", metavar="NAME", help="A ref or an image; more than one may be given.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The same as FILE.")] = "",
    bases: Annotated[
        list[str] | None,
        typer.Option("--base", metavar="REF|BUNDLE", help="Leave out what this holds: its reader must have it."),
    ] = None,
    compress: Annotated[
        Compression,
        typer.Option("--compress", help="Nothing, what shrinks quickly, or all that shrinks."),
    ] = Compression.NONE,
    as_json: AsJson = False,
) -> None:
    """Write trees and their refs to a bundle; the same refs give the same bytes."""
    target = _one_of(file, output)
    if not refs:
        raise UsageError("A bundle needs a ref", hint="Name one with --ref NAME.")
    if target == "-" and as_json:
        raise UsageError("Bundle and JSON cannot both go to stdout", hint="Name a file, or leave out --json.")
    if target == "-" and sys.stdout.isatty():
        raise UsageError("A bundle on a terminal helps nobody", hint="Name a file, or redirect the output.")
    store = _bundles(ctx)
    names = [find_name(volt_of(ctx).store, name, live=True) for name in refs]
    known = [_find_base(ctx, store, name) for name in bases or ()]
    with shown_progress() as progress, _writing(target) as stream:
        written = store.write_bundle(stream, names, bases=known, compression=compress, progress=progress)
    manifest = written.manifest
    if as_json:
        print_json("bundle-created", {"bytes": written.bytes, **_summary(manifest)})
        return
    say(f"{_counts(manifest)}; {size(written.bytes)} written")


@app.command()
def inspect(ctx: typer.Context, file: FileName, as_json: AsJson = False) -> None:
    """Show what a bundle says that it holds; only its beginning is read."""
    with _reading(file) as stream:
        manifest = _bundles(ctx).inspect_bundle(stream)
    if as_json:
        lists = {"records": manifest.records, "objects": manifest.objects}
        print_json("bundle", {**_summary(manifest), "contents": msgspec.to_builtins(lists)})
        return
    print_table(("REF", "KIND", "DIGEST"), [(ref.name, _shown(ref.kind), ref.digest) for ref in manifest.refs])
    if manifest.bases:
        print()
        print_table(("BUILDS ON", "DIGEST"), [(base.name or "-", base.digest) for base in manifest.bases])
    print()
    print(_counts(manifest))


@app.command()
def verify(ctx: typer.Context, file: FileName, as_json: AsJson = False) -> None:
    """Read a bundle and check all that an import would; nothing is written."""
    with _reading(file) as stream, shown_progress() as progress:
        found = _bundles(ctx).verify_bundle(stream, progress=progress)
    say_notes(found.notes)
    if as_json:
        print_json("bundle-verified", {"bytes": found.bytes, **_summary(found.manifest), "notes": found.notes})
        return
    say(f"{_counts(found.manifest)}: nothing is wrong")


@app.command("import")
def import_(ctx: typer.Context, file: FileName, as_json: AsJson = False) -> None:
    """Store what a bundle holds and set its refs; all of it is checked before."""
    with _reading(file) as stream, shown_progress() as progress:
        done = _bundles(ctx).read_bundle(stream, accept=_accept, progress=progress)
    say_notes(done.notes)
    if as_json:
        print_json(
            "bundle-imported",
            {
                "bytes": done.bytes,
                **_summary(done.manifest),
                "new_objects": done.new_objects,
                "new_bytes": done.new_bytes,
                "new_records": done.new_records,
                "moved": done.moved,
                "notes": done.notes,
            },
        )
        return
    for ref in done.manifest.refs:
        print(f"{ref.name}  {ref.digest}")
    for before in done.moved:
        say(f"Note: {before.name} was {before.digest}")
    say(f"{_counts(done.manifest)}; new: {done.new_objects} contents, {size(done.new_bytes)}")


@app.command()
def diff(
    ctx: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="A bundle.", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="B", help="Another; '-' is stdin.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show which refs and paths differ between two bundles; contents are compared by digest and not read.

    A path of what is only in B begins with '+', of what is only in A with '-', of what both have and is not
    the same with '~'.
    """
    if first == second == "-":
        raise UsageError("Both bundles cannot come from stdin", hint="Give a file for one.")
    store = _bundles(ctx)
    with _reading(first) as one, _reading(second) as other:
        changes = list(changed_paths(store.bundle_entries(one), store.bundle_entries(other)))
    if as_json:
        print_json("bundle-diff", [_change(change) for change in changes])
        return
    for change in changes:
        print(f"{change.sign} {change.ref}" + (f"  {below.shown(change.path)}" if change.path is not None else ""))
    say(count_changes(changes))


def _one_of(file: str, output: str) -> str:
    if bool(file) == bool(output):
        raise UsageError("A bundle is written to one file", hint="Give FILE or -o FILE; '-' is stdout.")
    return file or output


def _bundles(ctx: typer.Context) -> Bundles:
    store = volt_of(ctx).store
    if not isinstance(store, Bundles):
        raise CapabilityMissing(
            f"The store '{store.NAME}' has no bundles", hint="Choose another with 'volt config set store'."
        )
    return store


def _find_base(ctx: typer.Context, store: Bundles, name: str) -> BundleBase | BundleManifest:
    """Return what a user's word means: a digest, a ref, an image, or the file of a bundle."""
    if is_digest(name):
        return BundleBase(name)
    with contextlib.suppress(InvalidName):
        if ref := find_ref(volt_of(ctx).store, name):
            return BundleBase(ref.digest, ref.name)
    if name == "-" or Path(name).is_file():
        with _reading(name) as stream:
            return store.inspect_bundle(stream)
    raise RefNotFound(
        f"There is neither a ref nor a bundle {shown(name)} to build on", hint="'volt cas status' lists the refs."
    )


def _accept(ref: Ref) -> None:
    """Refuse a ref that would be the name of an image, and break whatever lists images."""
    try:
        check_own_ref(ref.name)
        if ref.name.startswith(PREFIX):
            from_ref(ref)
    except (InvalidName, ValueError) as error:  # msgspec's errors are ValueErrors
        raise ArchiveInvalid(
            f"Invalid bundle: its ref {shown(ref.name)} is no image's", hint="Nothing of it was kept; get it again."
        ) from error


@contextlib.contextmanager
def _reading(name: str) -> Iterator[BinaryIO]:
    """Give the bytes of a bundle; unbuffered, since its reader has a buffer of its own."""
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = open(name, "rb", buffering=0)
    except OSError as error:
        raise NotFoundError(f"Cannot read {shown(name)}: {error.strerror}", hint="Check the path.") from error
    with stream:
        yield stream


@contextlib.contextmanager
def _writing(target: str) -> Iterator[BinaryIO]:
    if target == "-":
        yield sys.stdout.buffer
        return
    with open_new_file(Path(target)) as stream:
        yield stream


def _summary(manifest: BundleManifest) -> dict[str, Any]:
    return {
        "format": manifest.format,
        "refs": manifest.refs,
        "bases": [{"digest": base.digest, "name": base.name} for base in manifest.bases],
        "records": len(manifest.records),
        "objects": len(manifest.objects),
        "content_bytes": sum(item.size for item in manifest.objects),
    }


def _counts(manifest: BundleManifest) -> str:
    total = sum(item.size for item in manifest.objects)
    return (
        f"{len(manifest.refs)} refs, {len(manifest.records)} records, {len(manifest.objects)} contents, {size(total)}"
    )


def _change(change: Change) -> dict[str, Any]:
    document: dict[str, Any] = {"ref": change.ref, "change": change.what}
    if change.path is not None:
        document["path"] = change.path.decode("utf-8", "backslashreplace")
        document["fields"] = change.fields
    return document


def _shown(text: str) -> str:
    return text if text.isprintable() else shown(text)
