"""What the words of a command mean, and what several of them say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from volt_core.cli.messages import say
from volt_core.contracts import Store
from volt_core.errors import InvalidName, RefNotFound
from volt_core.names import USE_PREFIX, is_digest, parse_image_name, shown

RefName = Annotated[
    str, typer.Argument(metavar="REF", help="A ref, an image or a digest of a tree.", show_default=False)
]
DIGEST_SHOWN = 19
_IMAGES = "images/"


def find_digest(store: Store, name: str) -> str:
    """Return the digest that a user's word means: a digest, a ref, or an image. Raises :class:`RefNotFound`."""
    if is_digest(name):
        return name
    ref = store.find_ref(name)
    if ref is None:
        try:
            image = parse_image_name(name)
        except InvalidName:
            pass
        else:
            ref = store.find_ref(image.ref) if image.tag else None
    if ref is None:
        raise RefNotFound(f"The store has no ref {shown(name)}", hint="'volt cas status' lists the refs.")
    return ref.digest


def check_own_ref(name: str) -> None:
    """Raise :class:`InvalidName` for a ref that would mean something to Volt, and not what it means by it."""
    if name.startswith(USE_PREFIX):
        raise InvalidName(f"Ref {shown(name)} is in the place of what workloads use", hint="Choose another name.")
    if name.startswith(_IMAGES):
        text = name.removeprefix(_IMAGES)
        hint = "Make an image: volt image import DIR NAME:TAG."
        try:
            image = parse_image_name(text)
        except InvalidName as error:
            raise InvalidName(f"Ref {shown(name)} is no image's: {error.brief}", hint=hint) from error
        if image.ref != name:
            raise InvalidName(f"Ref {shown(name)} is no image's: it has no tag", hint=hint)


def say_notes(notes: Sequence[str]) -> None:
    """Say what was left out, one line each."""
    for note in notes:
        say(f"Note: {note}")
