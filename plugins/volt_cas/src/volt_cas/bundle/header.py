"""Checking a member's header against the one that must be there, and saying what is wrong with another."""

from __future__ import annotations

from volt_cas import below
from volt_cas.bundle import format as form
from volt_cas.errors import BundleInvalid

_SHOWN = 100  # bytes of a hostile name in a message


def check_header(data: bytes, name: bytes, size: int | None, offset: int) -> form.Stored:
    """Return what a header says of how its member is stored.

    Args:
        data: as many bytes as the right header has, which stands at `offset`.
        size: of the content, uncompressed; None for the list of contents, which has its own limit.

    Raises :class:`BundleInvalid` if it is not the header that the member `name` must have.
    """
    _, _, _, method, _, _, crc, *_ = form.LOCAL.unpack_from(data)
    _, _, plain, packed = form.LOCAL_EXTRA.unpack_from(data, form.LOCAL.size + len(name))
    stored = form.Stored(method, crc, packed)
    is_manifest = size is None
    expected = plain if size is None else size
    if data != form.local_header(name, stored, expected):
        raise invalid(offset, _explain(data, name, size))
    if is_manifest and plain > form.MAX_MANIFEST:
        raise invalid(offset, f"its list of contents has {plain} bytes, more than {form.MAX_MANIFEST}")
    if method == form.STORED and packed != expected:
        raise invalid(offset, f"'{_shown(name)}' is stored, but {packed} bytes are said to be {expected}")
    if method == form.DEFLATED and (is_manifest or not 0 < packed < expected):
        raise invalid(offset, f"'{_shown(name)}' is compressed from {expected} to {packed} bytes, which no writer does")
    if method not in (form.STORED, form.DEFLATED):
        raise invalid(offset, f"'{_shown(name)}' is compressed by method {method}, which no bundle uses")
    return stored


def _explain(data: bytes, name: bytes, size: int | None) -> str:
    """Return what is wrong with a header that is not the one that must be there."""
    signature, _, flags, *_, name_size, extra_size = form.LOCAL.unpack_from(data)
    found = data[form.LOCAL.size : form.LOCAL.size + name_size]
    if size is None and signature != form.LOCAL_SIGNATURE:
        return "it does not begin as a bundle does"
    if signature == form.CENTRAL_SIGNATURE:
        return f"its members end before '{_shown(name)}'"
    if signature != form.LOCAL_SIGNATURE:
        return f"there is no member where '{_shown(name)}' must be"
    if flags & form.ENCRYPTED:
        return f"'{_shown(found)}' is encrypted"
    if flags & form.DESCRIPTOR:
        return f"the size of '{_shown(found)}' does not stand before it"
    if found != name:
        return f"its member '{_shown(found)}' stands where '{_shown(name)}' must be"
    if size is not None and extra_size == form.LOCAL_EXTRA.size:
        plain = form.LOCAL_EXTRA.unpack_from(data, form.LOCAL.size + name_size)[2]
        if plain != size:
            return f"'{_shown(name)}' has {plain} bytes by its header, {size} by the list of contents"
    return f"the header of '{_shown(name)}' has flags, times, versions or fields that no bundle has"


def invalid(offset: int, why: str) -> BundleInvalid:
    """Return the error for something at `offset`."""
    return BundleInvalid(f"Invalid bundle at byte {offset}: {why}", hint=BundleInvalid.HINT)


def _shown(name: bytes) -> str:
    return below.shown(name[:_SHOWN])
