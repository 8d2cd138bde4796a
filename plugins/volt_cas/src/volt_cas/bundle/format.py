"""The bytes of a bundle: a ZIP64 file in which everything but content follows from the list of contents.

All members have the same flags, times, versions and extra fields, so a header is known but for its method, CRC and
compressed size, and the central directory is known altogether. A reader makes what must be there and compares.
``docs/formats.md`` describes it for other implementations.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from volt_cas.errors import BundleInvalid
from volt_cas.layout import digest_bytes
from volt_core.contracts import BundleItem, BundleManifest
from volt_core.errors import InvalidName, StateTooNew
from volt_core.names import USE_PREFIX, check_ref, shown

FORMAT = 1
MANIFEST = b"manifest.json"
RECORDS = b"trees/"
OBJECTS = b"objects/"
STORED = 0
DEFLATED = 8
MAX_MANIFEST = 256 * 1024 * 1024
"""Bytes: about three million records and contents."""
MAX_REFS = 10_000
"""Each costs its reader a file and a sync; as many bases may there be."""
MAX_RECORDS = 1024 * 1024 * 1024
"""Bytes of all records together: they are held in memory until the tree is known to be whole."""

ENCRYPTED = 1
DESCRIPTOR = 8
_VERSION = 45  # the first that has ZIP64
_MADE_BY = 3 << 8 | _VERSION  # Unix
_DATE = 0x21  # 1980-01-01, the first day that ZIP has
_MODE = 0o100644 << 16
_IN_EXTRA = 0xFFFFFFFF
_COUNT_IN_EXTRA = 0xFFFF
LOCAL_SIGNATURE = 0x04034B50
CENTRAL_SIGNATURE = 0x02014B50
LOCAL = struct.Struct("<IHHHHHIIIHH")
"""Signature, version, flags, method, time, date, CRC, two sizes, lengths of name and extra field."""
LOCAL_EXTRA = struct.Struct("<HHQQ")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_CENTRAL_EXTRA = struct.Struct("<HHQQQ")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")
_PACKED = struct.Struct("<BIQ")
_PIECE = 1024  # members whose part of the central directory is made at a time

_encode = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(BundleManifest)


class Stored(NamedTuple):
    """How a member lies in the file."""

    method: int
    crc: int
    size: int
    """Bytes in the file."""


class _Version(msgspec.Struct):
    format: int = 0


def record_name(digest: str) -> bytes:
    """Return the name of the member with a record."""
    return RECORDS + digest[-64:].encode()


def object_name(digest: str) -> bytes:
    """Return the name of the member with a file's content."""
    return OBJECTS + digest[-64:].encode()


def local_header(name: bytes, stored: Stored, size: int) -> bytes:
    """Return what stands before a member; `size` is that of its content, uncompressed."""
    fields = (LOCAL_SIGNATURE, _VERSION, 0, stored.method, 0, _DATE, stored.crc, _IN_EXTRA, _IN_EXTRA)
    return LOCAL.pack(*fields, len(name), LOCAL_EXTRA.size) + name + LOCAL_EXTRA.pack(1, 16, size, stored.size)


def local_size(name: bytes) -> int:
    """Return the bytes of a member's header."""
    return LOCAL.size + len(name) + LOCAL_EXTRA.size


class Directory:
    """The central directory of a bundle, from the order, names and sizes that the manifest gives.

    Of each member only what does not follow from the manifest is held.
    """

    def __init__(self) -> None:
        self._stored = bytearray()

    def add(self, stored: Stored) -> None:
        """Note the next member."""
        self._stored += _PACKED.pack(*stored)

    def render(self, manifest: BundleManifest, manifest_size: int) -> Iterator[bytes]:
        """Yield the central directory and what ends the file, in pieces."""
        offset = written = count = 0
        piece = bytearray()
        members = _members(manifest, manifest_size)
        for (name, size), packed in zip(members, _PACKED.iter_unpack(self._stored), strict=True):
            stored = Stored(*packed)
            piece += _central_entry(name, stored, size, offset)
            offset += local_size(name) + stored.size
            count += 1
            if count % _PIECE == 0:
                written += len(piece)
                yield bytes(piece)
                piece.clear()
        written += len(piece)
        yield bytes(piece) + _end(count, written, offset)


def _members(manifest: BundleManifest, manifest_size: int) -> Iterator[tuple[bytes, int]]:
    """Yield name and size of each."""
    yield MANIFEST, manifest_size
    yield from ((record_name(item.digest), item.size) for item in manifest.records)
    yield from ((object_name(item.digest), item.size) for item in manifest.objects)


def _central_entry(name: bytes, stored: Stored, size: int, offset: int) -> bytes:
    header = _CENTRAL.pack(
        *(CENTRAL_SIGNATURE, _MADE_BY, _VERSION, 0, stored.method, 0, _DATE, stored.crc, _IN_EXTRA, _IN_EXTRA),
        *(len(name), _CENTRAL_EXTRA.size, 0, 0, 0, _MODE, _IN_EXTRA),
    )
    return header + name + _CENTRAL_EXTRA.pack(1, 24, size, stored.size, offset)


def _end(count: int, size: int, offset: int) -> bytes:
    end64 = _END64.pack(0x06064B50, _END64.size - 12, _MADE_BY, _VERSION, 0, 0, count, count, size, offset)
    locator = _LOCATOR.pack(0x07064B50, 0, offset + size, 1)
    return end64 + locator + _END.pack(0x06054B50, 0, 0, *(2 * (_COUNT_IN_EXTRA,)), _IN_EXTRA, _IN_EXTRA, 0)


def encode_manifest(manifest: BundleManifest) -> bytes:
    """Return the one encoding of a manifest."""
    return _encode(manifest) + b"\n"


def decode_manifest(data: bytes) -> BundleManifest:
    """Return the manifest if it keeps every rule that can be told from it alone.

    Raises :class:`BundleInvalid`, and :class:`StateTooNew` for a later format.
    """
    try:
        found = msgspec.json.decode(data, type=_Version).format
        if found > FORMAT:
            raise StateTooNew(
                f"The bundle has format {found}, this Volt knows {FORMAT}",
                hint="It was made by a newer Volt: upgrade this one.",
            )
        manifest = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(str(error)) from error
    if manifest.format != FORMAT or manifest.hash != "sha256":
        raise _refused(f"there never was a format {manifest.format} with {shown(manifest.hash)}")
    if encode_manifest(manifest) != data:
        raise _refused("it is not in the canonical encoding")
    _check_refs(manifest)
    for items, what, most in ((manifest.records, "record", MAX_RECORDS), (manifest.objects, "content", 2**63 - 1)):
        _check_items(items, what, most)
    return manifest


def _check_refs(manifest: BundleManifest) -> None:
    try:
        for ref in manifest.refs:
            check_ref(ref.name)
            digest_bytes(ref.digest)
        for base in manifest.bases:
            digest_bytes(base.digest)
            if base.name:
                check_ref(base.name)
    except InvalidName as error:
        raise _refused(error.brief) from error
    names = [ref.name for ref in manifest.refs]
    if not names:
        raise _refused("it has no ref")
    if max(len(manifest.refs), len(manifest.bases)) > MAX_REFS:
        raise _refused(f"it has more than {MAX_REFS} refs or bases")
    if names != sorted(set(names)):
        raise _refused("its refs are not sorted, or one is there twice")
    if any(name.startswith(USE_PREFIX) for name in names):
        raise _refused("it has a ref in the place of what workloads use")
    if any(ref.updated for ref in manifest.refs):
        raise _refused("a ref has a time")
    bases = [base.digest for base in manifest.bases]
    if bases != sorted(set(bases)):
        raise _refused("its bases are not sorted, or one is there twice")


def _check_items(items: Sequence[BundleItem], what: str, most: int) -> None:
    total = 0
    try:
        for item in items:
            digest_bytes(item.digest)
            total += item.size
            if item.size <= 0:
                raise _refused(f"a {what} has {item.size} bytes")
    except InvalidName as error:
        raise _refused(error.brief) from error
    if total > most:
        raise _refused(f"its {what}s take {total} bytes, more than {most}")
    if len({item.digest for item in items}) != len(items):
        raise _refused(f"a {what} is there twice")


def _refused(why: str) -> BundleInvalid:
    return BundleInvalid(f"Invalid bundle: its list of contents cannot be used: {why}", hint=BundleInvalid.HINT)
