"""What the words of a command mean, and what several of them say."""

from __future__ import annotations

from collections.abc import Sequence

from volt_core.cli.messages import say
from volt_core.contracts import Ref, Store
from volt_core.errors import InvalidName, RefNotFound, StateCorrupt, UsageError
from volt_core.images.records import PREFIX
from volt_core.names import USE_PREFIX, is_digest, parse_image_name, shown

DIGEST_SHOWN = 19


def find_digest(store: Store, name: str) -> str:
    """Return the digest that a user's word means: a digest, a ref, or an image. Raises :class:`RefNotFound`."""
    if is_digest(name):
        return name
    ref = find_ref(store, name)
    if ref is None:
        raise _no_ref(name)
    return ref.digest


def find_ref(store: Store, name: str) -> Ref | None:
    """Return the ref that a user's word means, by its own name or that of an image; None for a digest."""
    if is_digest(name):
        return None
    found = store.find_ref(name)
    image = _image_ref(name)
    return store.find_ref(image) if found is None and image else found


def find_name(store: Store, name: str, *, live: bool = False) -> str:
    """Return the name of the ref that a user's word means; unless `live`, also of one that was deleted.

    Raises :class:`RefNotFound`, and :class:`UsageError` for a digest.
    """
    if is_digest(name):
        raise UsageError(f"{shown(name)} is a tree, not a name of one", hint="'volt cas status' lists the refs.")
    for candidate in filter(None, (name, _image_ref(name))):
        if _is_there(store, candidate) or (not live and store.ref_log(candidate)):
            return candidate
    raise _no_ref(name)


def _is_there(store: Store, name: str) -> bool:
    try:
        return store.find_ref(name) is not None
    except StateCorrupt:
        return True


def _image_ref(name: str) -> str | None:
    try:
        image = parse_image_name(name)
    except InvalidName:
        return None
    return image.ref if image.tag else None


def _no_ref(name: str) -> RefNotFound:
    return RefNotFound(f"The store has no ref {shown(name)}", hint="'volt cas status' lists the refs.")


def as_path(text: str) -> bytes:
    """Return a path inside a tree, as a user writes it."""
    return text.strip("/").encode("utf-8", "surrogateescape")


def check_own_ref(name: str) -> None:
    """Raise :class:`InvalidName` for a ref that would mean something to Volt, and not what it means by it."""
    if name.startswith(USE_PREFIX):
        raise InvalidName(f"Ref {shown(name)} is in the place of what workloads use", hint="Choose another name.")
    if name.startswith(PREFIX):
        text = name.removeprefix(PREFIX)
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
