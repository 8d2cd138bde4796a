"""Tree records: one canonical encoding, hence one digest, for one tree.

A directory is a record that names its children by digest, so an unchanged subtree is one shared record.
The tree as a whole is a *top record*: the root directory's own metadata, and the digests of its directory
record and of its *links record*, which lists the hard-link groups by path. Groups are not kept in the
directories because they may span any of these: so a directory record depends on nothing but what lies below
it. Groups depend on paths alone, neither on inode numbers nor on the order of creation, and versions of a
tree share their record.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from volt_cas.layout import DIGEST_SIZE, digest_text
from volt_core.errors import ObjectCorrupt

NANOSECONDS = 10**9
OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")
"""Would change how overlayfs shows a tree: never taken from outside."""
MAX_DEPTH = 4096
"""Levels of directories in one tree, the root included."""
_KEPT_XATTRS = frozenset((b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"))
_NOTHING = hashlib.sha256().digest()
_MAX_NAME = 255
_UINT32 = 2**32 - 1

Digest = Annotated[bytes, Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]
Name = Annotated[bytes, Meta(min_length=1, max_length=_MAX_NAME)]
Target = Annotated[bytes, Meta(min_length=1, max_length=4095)]
XattrValue = Annotated[bytes, Meta(max_length=65536)]
Identity = Annotated[int, Meta(ge=0, lt=_UINT32)]  # the highest means "leave it" to chown(2)
Seconds = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
DeviceNumber = Annotated[int, Meta(ge=0, le=_UINT32)]


class Metadata(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an inode carries beside its content. Seconds may be negative; nanoseconds count up from them."""

    mode: Annotated[int, Meta(ge=0, le=0o7777)]
    uid: Identity
    gid: Identity
    seconds: Seconds
    nanoseconds: Annotated[int, Meta(ge=0, lt=NANOSECONDS)]
    xattrs: tuple[tuple[Name, XattrValue], ...] = ()
    """Sorted by name."""

    @property
    def mtime_ns(self) -> int:
        """Modification time in nanoseconds since the epoch; needs more than 64 bits beyond the year 2262."""
        return self.seconds * NANOSECONDS + self.nanoseconds


class FileEntry(msgspec.Struct, frozen=True, array_like=True, tag="f", gc=False):
    """A regular file. Empty content has its digest but no object."""

    name: Name
    metadata: Metadata
    size: Size
    digest: Digest


class DirectoryEntry(msgspec.Struct, frozen=True, array_like=True, tag="d", gc=False):
    """A directory; the digest is that of its record."""

    name: Name
    metadata: Metadata
    digest: Digest


class SymlinkEntry(msgspec.Struct, frozen=True, array_like=True, tag="l", gc=False):
    """A symbolic link; its mode is always 0o777."""

    name: Name
    metadata: Metadata
    target: Target


class CharacterEntry(msgspec.Struct, frozen=True, array_like=True, tag="c", gc=False):
    """A character device."""

    name: Name
    metadata: Metadata
    major: DeviceNumber
    minor: DeviceNumber


class BlockEntry(msgspec.Struct, frozen=True, array_like=True, tag="b", gc=False):
    """A block device."""

    name: Name
    metadata: Metadata
    major: DeviceNumber
    minor: DeviceNumber


class FifoEntry(msgspec.Struct, frozen=True, array_like=True, tag="p", gc=False):
    """A named pipe."""

    name: Name
    metadata: Metadata


Node = FileEntry | DirectoryEntry | SymlinkEntry | CharacterEntry | BlockEntry | FifoEntry


class DirectoryRecord(msgspec.Struct, frozen=True, array_like=True, tag="dir"):
    """What one directory holds, sorted by name."""

    entries: tuple[Node, ...]


class TreeRecord(msgspec.Struct, frozen=True, array_like=True, tag="tree"):
    """The top record of a tree."""

    metadata: Metadata
    digest: Digest
    """Of the root's directory record."""
    links: Digest | None = None
    """Of the links record; None if the tree has no hard links."""


class LinksRecord(msgspec.Struct, frozen=True, array_like=True, tag="links"):
    """Which paths of a tree are one inode: groups of two or more, each sorted, sorted by their first path."""

    groups: tuple[tuple[bytes, ...], ...]


Record = DirectoryRecord | TreeRecord | LinksRecord

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_metadata_decoder = msgspec.msgpack.Decoder(Metadata)


def encode(record: Record) -> bytes:
    """Return the one encoding of a record. The caller has sorted what must be sorted."""
    return _encode(record)


def address(data: bytes) -> bytes:
    """Return the digest of an encoded record."""
    return hashlib.sha256(data).digest()


def encode_metadata(metadata: Metadata) -> bytes:
    """Return the encoding of the metadata alone."""
    return _encode(metadata)


def decode_metadata(data: bytes) -> Metadata:
    """Return what :func:`encode_metadata` has encoded."""
    return _metadata_decoder.decode(data)


def metadata_digest(metadata: Metadata) -> bytes:
    """Return the digest of the metadata alone; a part of a variant's name."""
    return address(_encode(metadata))


def decode(data: bytes, digest: bytes) -> Record:
    """Return the record; `digest` names it in the message. Raises :class:`ObjectCorrupt`.

    Records also come from other machines: whatever is not the one encoding of a valid record is refused.
    """
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # The latter two: a tag that is no UTF-8; more items than there should be, nested deeply.
        raise _corrupt(digest, str(error)) from error
    if _encode(record) != data:
        raise _corrupt(digest, "it is not in the canonical encoding")
    match record:
        case DirectoryRecord():
            _check_directory(record, digest)
        case TreeRecord():
            _check_metadata(record.metadata, digest)
        case LinksRecord():
            _check_groups(record.groups, digest)
    return record


def is_valid_name(name: bytes) -> bool:
    """Tell whether `name` can be that of a directory entry."""
    return 0 < len(name) <= _MAX_NAME and name not in (b".", b"..") and b"/" not in name and b"\0" not in name


def is_kept_xattr(name: bytes) -> bool:
    """Tell whether an extended attribute belongs into a record."""
    return name in _KEPT_XATTRS or (name.startswith(b"user.") and not name.startswith(OVERLAY_XATTRS))


def _check_directory(record: DirectoryRecord, digest: bytes) -> None:
    previous = b""
    for entry in record.entries:
        if not is_valid_name(entry.name):
            raise _corrupt(digest, f"it has an entry with the impossible name {entry.name!r}")
        if entry.name <= previous:
            raise _corrupt(digest, f"its entries are not sorted at {entry.name!r}")
        previous = entry.name
        if entry.metadata.xattrs:
            _check_metadata(entry.metadata, digest)
        if isinstance(entry, CharacterEntry) and entry.major == entry.minor == 0:
            raise _corrupt(digest, f"it has a whiteout of overlayfs, {entry.name!r}")
        if isinstance(entry, SymlinkEntry) and (
            entry.metadata.mode != 0o777 or entry.metadata.xattrs or b"\0" in entry.target
        ):
            raise _corrupt(digest, f"it has an impossible symlink {entry.name!r}")
        if isinstance(entry, FileEntry) and (entry.size == 0) != (entry.digest == _NOTHING):
            raise _corrupt(digest, f"size and digest of {entry.name!r} contradict each other")


def _check_metadata(metadata: Metadata, digest: bytes) -> None:
    names = [name for name, _ in metadata.xattrs]
    if any(b"\0" in name for name in names) or not _is_ascending(names):
        raise _corrupt(digest, "its extended attributes are not sorted")
    if not all(map(is_kept_xattr, names)):
        raise _corrupt(digest, "it has extended attributes that are never kept")


def _check_groups(groups: Sequence[Sequence[bytes]], digest: bytes) -> None:
    if not groups:
        raise _corrupt(digest, "it has no hard-link group")
    if any(len(group) < 2 or not _is_ascending(group) for group in groups):
        raise _corrupt(digest, "a hard-link group is not sorted or has a single path")
    if not _is_ascending([group[0] for group in groups]):
        raise _corrupt(digest, "its hard-link groups are not sorted")
    paths = [path for group in groups for path in group]
    if len(set(paths)) != len(paths):
        raise _corrupt(digest, "a path is in two hard-link groups")
    if not all(is_valid_name(name) for path in paths for name in path.split(b"/")):
        raise _corrupt(digest, "a hard-link group has an impossible path")


def _is_ascending(items: Sequence[bytes]) -> bool:
    return all(before < after for before, after in itertools.pairwise(items))


def _corrupt(digest: bytes, why: str) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"Tree record {digest_text(digest)} is damaged: {why}",
        hint="Run 'volt cas verify' to see what is affected, then put the tree again.",
    )
