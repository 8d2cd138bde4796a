"""``volt image``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from volt_core.cli.exits import Failures
from volt_core.cli.options import AsJson, Quiet
from volt_core.cli.progress import shown_progress
from volt_core.cli.render import age, print_json, print_names, print_table, size
from volt_core.cli.session import volt_of
from volt_core.cli.stored import DIGEST_SHOWN, import_image, say_stored
from volt_core.contracts import ImageRequest, MtimePolicy
from volt_core.errors import UsageError
from volt_core.models.image import Image
from volt_core.names import shown

Name = Annotated[str, typer.Argument(metavar="IMAGE", help="NAME[:TAG] or NAME@sha256:DIGEST.", show_default=False)]
Mtime = Annotated[
    MtimePolicy | None,
    typer.Option(
        "--mtime", metavar="keep|clamp", help="Keep modification times, or clamp them: rebuilt files stay equal."
    ),
]


def pull(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="SCHEME:REFERENCE, for example debian:bookworm.", show_default=False)],
    name: Annotated[
        str, typer.Option("--name", metavar="IMAGE", help="NAME[:TAG] to give it, by default the source.")
    ] = "",
    variant: Annotated[
        str, typer.Option("--variant", metavar="NAME", help="How much of the distribution; default minbase.")
    ] = "",
    include: Annotated[
        list[str] | None, typer.Option("--include", metavar="PACKAGES", help="Packages to add, comma separated.")
    ] = None,
    mirror: Annotated[str, typer.Option("--mirror", metavar="URL", help="Where packages come from.")] = "",
    mtime: Mtime = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch it anew if it is there already.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fetch an image from a source; what is there already is left as it is."""
    scheme, colon, reference = source.partition(":")
    if not colon or not reference:
        raise UsageError(f"Invalid source {shown(source)}", hint="Write SCHEME:REFERENCE, for example debian:bookworm.")
    volt = volt_of(ctx, mirror=mirror or None, mtime=mtime)
    settings = volt.config.values
    packages = (package.strip() for words in include or () for package in words.split(","))
    request = ImageRequest(
        scheme=scheme,
        reference=reference,
        variant=variant,
        include=tuple(filter(None, packages)),
        mirror=settings.mirror,
        mtime=MtimePolicy(settings.mtime),
    )
    with shown_progress() as progress:
        image, fetched = volt.images.pull(name or source, request, refresh=refresh, progress=progress)
    if quiet:
        print(image.name)
    elif fetched is None:
        print(f"{image.name} is there already, since {age(image.created)} ({image.source}); --refresh fetches it anew.")
    else:
        say_stored(image, fetched.result)


def import_(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(help="A tar, plain or compressed, '-' for stdin, or a directory.")],
    name: Annotated[str, typer.Argument(help="NAME[:TAG]; by default from the file's name.")] = "",
    mtime: Mtime = None,
    quiet: Quiet = False,
) -> None:
    """Import a root file system."""
    import_image(volt_of(ctx), path, name, mtime=mtime, quiet=quiet)


def list_(ctx: typer.Context, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List images."""
    images = volt_of(ctx).images.all()
    if as_json:
        print_json("images", [_summary(image) for image in images])
    elif quiet:
        print_names(image.name for image in images)
    else:
        rows = (
            (image.name, image.digest[:DIGEST_SHOWN], str(image.files), size(image.size), age(image.created))
            for image in images
        )
        print_table(("NAME", "DIGEST", "FILES", "SIZE", "SINCE"), rows)


def inspect(ctx: typer.Context, name: Name) -> None:
    """Show everything about an image as JSON."""
    print_json("image", _summary(volt_of(ctx).images.get(name)))


def tag(
    ctx: typer.Context,
    name: Name,
    new: Annotated[str, typer.Argument(help="The other NAME[:TAG].", show_default=False)],
) -> None:
    """Give an image another name; both names stay."""
    print(volt_of(ctx).images.tag(name, new).name)


def delete(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Names of images.", metavar="NAME...", show_default=False)],
    force: Annotated[bool, typer.Option("--force", "-f", help="Also what workloads use; they go on.")] = False,
) -> None:
    """Delete image names; content that nothing else uses goes with the next gc."""
    images = volt_of(ctx).images
    failures = Failures()
    for name in names:
        with failures.collect():
            images.delete(name, force=force)
            print(name, flush=True)
    failures.leave()


def export(
    ctx: typer.Context,
    name: Name,
    path: Annotated[str, typer.Argument(help="File to write, or '-' for stdout.")] = "-",
) -> None:
    """Write an image as a tar; equal images give equal bytes."""
    images = volt_of(ctx).images
    if path == "-":
        if sys.stdout.isatty():
            raise UsageError("A tar on a terminal helps nobody", hint="Name a file, or redirect the output.")
        with shown_progress() as progress:
            images.export(name, sys.stdout.buffer, progress=progress)
        return
    with shown_progress() as progress:
        images.export_file(name, Path(path), progress=progress)


def _summary(image: Image) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(image)
    return document
