"""Writing a stored tree as a tar in the pax format. Equal trees give equal bytes.

The standard library's tarfile would do, but what it writes differs between its versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from volt_cas import acl
from volt_cas.browse import walk_nodes
from volt_cas.layout import Layout
from volt_cas.metadata import ACL_ACCESS, ACL_DEFAULT
from volt_cas.objects import open_object, read_groups, read_tree
from volt_cas.record import (
    NANOSECONDS,
    BlockEntry,
    CharacterEntry,
    DirectoryEntry,
    FifoEntry,
    FileEntry,
    Metadata,
    Node,
    SymlinkEntry,
)
from volt_cas.tar_format import BLOCK, CHUNK, escape_xattr_name
from volt_core.contracts import Progress

_RECORD = 20 * BLOCK  # tar pads an archive to a multiple of this
_TYPES: dict[type[Node], bytes] = {
    FileEntry: b"0",
    SymlinkEntry: b"2",
    CharacterEntry: b"3",
    BlockEntry: b"4",
    DirectoryEntry: b"5",
    FifoEntry: b"6",
}
_ACLS = {ACL_ACCESS.encode(): b"SCHILY.acl.access", ACL_DEFAULT.encode(): b"SCHILY.acl.default"}


def export_tar(layout: Layout, digest: bytes, stream: BinaryIO, progress: Progress) -> None:
    """Write the tree. Names begin with ``./``, as in the archives of Debian's tools."""
    tree = read_tree(layout, digest)
    groups = read_groups(layout, tree)
    first: dict[int, bytes] = {}
    progress.begin("Writing the archive")
    written = _write(stream, _header(b"./", b"5", tree.metadata))
    for path, node in walk_nodes(layout, tree.digest):
        name = b"./" + path
        group = groups.get(path, 0)
        if group in first:
            written += _write(stream, _header(name, b"1", node.metadata, linkname=first[group]))
            continue
        if group:
            first[group] = name
        written += _write(stream, _node_header(name, node))
        if isinstance(node, FileEntry):
            written += _write_content(layout, node, stream)
            progress.advance(node.size, 1)
    end = 2 * BLOCK
    stream.write(bytes(end + -(written + end) % _RECORD))


def _node_header(name: bytes, node: Node) -> bytes:
    kind = _TYPES[type(node)]
    match node:
        case DirectoryEntry():
            return _header(name + b"/", kind, node.metadata)
        case FileEntry():
            return _header(name, kind, node.metadata, size=node.size)
        case SymlinkEntry():
            return _header(name, kind, node.metadata, linkname=node.target)
        case CharacterEntry() | BlockEntry():
            return _header(name, kind, node.metadata, device=(node.major, node.minor))
        case FifoEntry():
            return _header(name, kind, node.metadata)


def _header(
    name: bytes,
    kind: bytes,
    metadata: Metadata,
    *,
    size: int = 0,
    linkname: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """Return the ustar header, behind a pax header for whatever does not fit into it."""
    records = dict(_xattr_records(metadata))
    if len(name) > 100:
        records[b"path"] = name
    if len(linkname) > 100:
        records[b"linkpath"] = linkname
    numbers = {b"uid": metadata.uid, b"gid": metadata.gid, b"size": size}
    widths = {b"uid": 7, b"gid": 7, b"size": 11}
    for key, value in numbers.items():
        if value >= 8 ** widths[key]:
            records[key] = b"%d" % value
            numbers[key] = 0
    seconds = metadata.seconds
    if metadata.nanoseconds or not 0 <= seconds < 8**11:
        records[b"mtime"] = _decimal_time(metadata)
        seconds = min(max(seconds, 0), 8**11 - 1)
    main = _ustar(name, kind, metadata.mode, numbers, seconds, linkname, device)
    if not records:
        return main
    if any(not _is_utf8(records.get(key, b"")) for key in (b"path", b"linkpath")):
        records[b"hdrcharset"] = b"BINARY"
    data = b"".join(_pax_record(key, records[key]) for key in sorted(records))
    extension = _ustar(b"./PaxHeaders/" + name[-80:], b"x", 0o644, {b"size": len(data)}, 0, b"", (0, 0))
    return extension + data + bytes(-len(data) % BLOCK) + main


def _ustar(
    name: bytes,
    kind: bytes,
    mode: int,
    numbers: dict[bytes, int],
    seconds: int,
    linkname: bytes,
    device: tuple[int, int],
) -> bytes:
    header = b"".join((
        name[:100].ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % numbers.get(b"uid", 0),
        b"%07o\0" % numbers.get(b"gid", 0),
        b"%011o\0" % numbers.get(b"size", 0),
        b"%011o\0" % seconds,
        b" " * 8,
        kind,
        linkname[:100].ljust(100, b"\0"),
        b"ustar\00000",
        bytes(64),
        *map(_device_number, device),
    )).ljust(BLOCK, b"\0")  # fmt: skip
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _device_number(value: int) -> bytes:
    # Beyond seven octal digits in base 256, as GNU tar does: pax has no record for it.
    return b"%07o\0" % value if value < 8**7 else b"\x80" + value.to_bytes(7, "big")


def _xattr_records(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    for name, value in metadata.xattrs:
        text = acl.render_acl_text(value) if name in _ACLS else None
        yield (b"SCHILY.xattr." + escape_xattr_name(name), value) if text is None else (_ACLS[name], text)


def _decimal_time(metadata: Metadata) -> bytes:
    total = metadata.mtime_ns
    whole, fraction = divmod(abs(total), NANOSECONDS)
    text = f"{'-' if total < 0 else ''}{whole}" + (f".{fraction:09}" if fraction else "")
    return text.encode()


def _pax_record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3  # space, equals sign, newline
    length = rest + len(str(rest))
    if rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _write(stream: BinaryIO, data: bytes) -> int:
    stream.write(data)
    return len(data)


def _write_content(layout: Layout, node: FileEntry, stream: BinaryIO) -> int:
    if not node.size:
        return 0
    with open(open_object(layout, node.digest, node.size), "rb", buffering=0) as file:
        left = node.size
        while left and (data := file.read(min(CHUNK, left))):
            stream.write(data)
            left -= len(data)
    stream.write(bytes(left + -node.size % BLOCK))
    return node.size + -node.size % BLOCK
