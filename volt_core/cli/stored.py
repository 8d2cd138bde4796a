"""Storing an image, however the words of the command were parsed, and saying what was stored."""

from __future__ import annotations

import sys

from volt_core.api import Volt
from volt_core.cli.messages import say
from volt_core.cli.progress import shown_progress
from volt_core.cli.render import size
from volt_core.contracts import MtimePolicy, PutResult
from volt_core.models.image import Image

DIGEST_SHOWN = 19


def import_image(
    volt: Volt, path: str, name: str = "", *, mtime: MtimePolicy | None = None, quiet: bool = False
) -> None:
    """Import a root file system from a tar or a directory; `mtime` is by default as configured."""
    policy = mtime or MtimePolicy(volt.config.values.mtime)
    with shown_progress() as progress:
        image, result = volt.images.import_(path, name, stdin=sys.stdin.buffer, mtime=policy, progress=progress)
    if quiet:
        print(image.name)
    else:
        say_stored(image, result)


def say_stored(image: Image, result: PutResult) -> None:
    """Print the image, and say what was new."""
    print(f"{image.name}  {image.digest[:DIGEST_SHOWN]}", flush=True)
    say(
        f"{result.files} files, {size(result.bytes)}; "
        f"new in the store: {result.new_objects} objects, {size(result.new_bytes)}"
    )
    for note in result.notes:
        say(f"Note: {note}")
