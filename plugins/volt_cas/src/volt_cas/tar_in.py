"""Putting a tar stream: the tree is built in memory from its members, their content goes straight to the store."""

from __future__ import annotations

import base64
import binascii
import os
import urllib.parse
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from volt_cas import acl, below
from volt_cas.hardlinks import HardLinks
from volt_cas.metadata import ACL_ACCESS, ACL_DEFAULT, Xattrs, is_overlay, is_whiteout, why_left_out
from volt_cas.notes import Notes
from volt_cas.record import (
    BlockEntry,
    CharacterEntry,
    DirectoryEntry,
    DirectoryRecord,
    FifoEntry,
    FileEntry,
    Metadata,
    Node,
    SymlinkEntry,
)
from volt_cas.sparse import PIECE
from volt_cas.tar_format import Limits, Member, TarReader, unescape_xattr_name
from volt_cas.writer import Writer
from volt_core.contracts import EntryType, MtimePolicy, Progress
from volt_core.errors import ArchiveInvalid
from volt_core.native.staging import StagedFile

_MAX_NAME = 255
_MAX_TARGET = 4095
_MAX_XATTR = 65536
_XATTR_COST = 128  # bytes of memory beside name and value
_SHOWN = 200  # bytes of a hostile name in a message
_IMPLIED = Metadata(0o755, 0, 0, 0, 0)
_SCHILY = b"SCHILY.xattr."
_LIBARCHIVE = b"LIBARCHIVE.xattr."
_ACLS = {b"SCHILY.acl.access": ACL_ACCESS, b"SCHILY.acl.default": ACL_DEFAULT}


class _Folder:
    """A directory of the tree that is being built. Of a node that is hard-linked, the name in it does not count."""

    __slots__ = ("children", "metadata")

    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata
        self.children: dict[bytes, _Folder | _File | Node] = {}


class _File:
    """A regular file of the tree. The digest of what is written behind comes last."""

    __slots__ = ("content", "metadata", "size")

    def __init__(self, metadata: Metadata, size: int, content: bytes | StagedFile) -> None:
        self.metadata = metadata
        self.size = size
        self.content = content

    def entry(self, name: bytes) -> FileEntry:
        """Return what the record says of it."""
        digest = self.content if isinstance(self.content, bytes) else self.content.digest
        return FileEntry(name, self.metadata, self.size, digest)


class TarImport:
    """One archive.

    Attributes:
        files, bytes: what the tree holds; every name of a hard-linked file counts.
    """

    def __init__(self, writer: Writer, *, mtime: MtimePolicy, progress: Progress, limits: Limits | None = None) -> None:
        self._writer = writer
        self._clamp = mtime is MtimePolicy.CLAMP
        self._progress = progress
        self._limits = limits or Limits()
        self._root = _Folder(_IMPLIED)
        self._entries = 0
        self._content = 0
        self._held = 0
        self._shared: dict[int, _File | Node] = {}
        self._notes = Notes()
        self._devices = 0
        self._neighbours: tuple[bytes, _Folder] | None = None
        self.files = 0
        self.bytes = 0

    def run(self, stream: BinaryIO) -> bytes:
        """Stage the whole archive; return the digest of the top record. Raises :class:`ArchiveInvalid`."""
        reader = TarReader(stream, self._limits)
        for member in reader:
            self._add(reader, member)
        links = HardLinks()
        digest = self._finish(links)
        return self._writer.add_tree(self._root.metadata, digest, links.groups())

    def notes(self) -> tuple[str, ...]:
        """Return what was left out, or will be."""
        notes = self._notes.texts()
        if self._devices and os.geteuid() != 0:
            return (*notes, f"Recorded {self._devices} device nodes: without root a checkout leaves them out")
        return notes

    def _add(self, reader: TarReader, member: Member) -> None:
        folder, name = self._place(member)
        metadata = self._metadata(member)
        if not name:
            if member.type != "d":
                raise refused(member, "it would take the place of the root directory")
            self._root.metadata = metadata
            return
        old = folder.children.get(name)
        if member.type == "d" and isinstance(old, _Folder):
            old.metadata = metadata
            return
        if isinstance(old, _Folder) and old.children:
            raise refused(member, "it would take the place of a directory that is not empty")
        self._count_entry(name, member)
        folder.children[name] = self._new(reader, member, metadata, name)

    def _new(self, reader: TarReader, member: Member, metadata: Metadata, name: bytes) -> _Folder | _File | Node:
        match member.type:
            case "d":
                return _Folder(metadata)
            case "f":
                return self._file(reader, member, metadata)
            case "h":
                return self._hard_link(member)
            case "l":
                if not 0 < len(member.linkname) <= _MAX_TARGET or b"\0" in member.linkname:
                    raise refused(member, "its target is empty, too long, or holds a NUL")
                self._hold(len(member.linkname), member)
                return SymlinkEntry(name, msgspec.structs.replace(metadata, mode=0o777, xattrs=()), member.linkname)
            case "p":
                return FifoEntry(name, metadata)
        if is_whiteout(EntryType(member.type), member.major, member.minor):
            raise refused(member, "a character device 0:0 would hide files from an overlay")
        self._devices += 1
        make = CharacterEntry if member.type == "c" else BlockEntry
        return make(name, metadata, member.major, member.minor)

    def _file(self, reader: TarReader, member: Member, metadata: Metadata) -> _File:
        self._content += member.size
        if self._content > self._limits.content:
            raise refused(member, f"the files take more than {self._limits.content} bytes")
        content: bytes | StagedFile
        if member.size <= PIECE:
            content = self._writer.add_behind(_whole(reader, member), metadata)
        else:
            position = 0
            with self._writer.stream() as stream:
                for offset, data in reader.content(member):
                    stream.skip(offset - position)
                    stream.write(data)
                    position = offset + len(data)
                stream.skip(member.size - position)
                content, _ = stream.finish(metadata)
        self._progress.advance(member.size, 1)
        return _File(metadata, member.size, content)

    def _hard_link(self, member: Member) -> _File | Node:
        found: _Folder | _File | Node | None = self._root
        for part in self._parts(member.linkname, member):
            found = found.children.get(part) if isinstance(found, _Folder) else None
        if found is None or isinstance(found, _Folder):
            raise refused(member, f"its hard-link target '{_shown(member.linkname)}' is no earlier file of the archive")
        # A hard-link group names its members by their whole paths.
        self._hold(len(member.name) + len(member.linkname), member)
        self._shared[id(found)] = found
        return found

    def _place(self, member: Member) -> tuple[_Folder, bytes]:
        """Return the directory that the member lies in, and its name there; the root has no name.

        Mostly it is the directory of the one before it, which stays: it has that in it.
        """
        above, _, name = member.name.rpartition(b"/")
        if self._neighbours and above == self._neighbours[0] and name not in (b"", b".", b".."):
            if b"\0" not in name and len(name) <= _MAX_NAME and len(member.name) <= self._limits.path:
                return self._neighbours[1], name
        parts = self._parts(member.name, member)
        folder = self._folder(parts[:-1], member)
        if not parts:
            return folder, b""
        if above and parts[-1] == name:
            self._neighbours = above, folder
        return folder, parts[-1]

    def _folder(self, parts: list[bytes], member: Member) -> _Folder:
        """Return the directory at this path; missing ones are made, as tar does."""
        folder = self._root
        for part in parts:
            child = folder.children.get(part)
            if child is None:
                self._count_entry(part, member)
                child = folder.children[part] = _Folder(_IMPLIED)
            elif not isinstance(child, _Folder):
                what = "a symlink" if isinstance(child, SymlinkEntry) else "something that is no directory"
                raise refused(member, f"its path leads through '{_shown(part)}', which is {what}")
            folder = child
        return folder

    def _parts(self, path: bytes, member: Member) -> list[bytes]:
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        if not path or b"\0" in path:
            raise refused(member, "a name is empty or holds a NUL")
        if path.startswith(b"/"):
            raise refused(member, f"'{_shown(path)}' is an absolute name")
        if b".." in parts:
            raise refused(member, f"'{_shown(path)}' leads outside")
        if (
            len(path) > self._limits.path
            or len(parts) > self._limits.depth
            or max(map(len, parts), default=0) > _MAX_NAME
        ):
            raise refused(member, "a name is too long")
        return parts

    def _count_entry(self, name: bytes, member: Member) -> None:
        self._hold(len(name), member)
        self._entries += 1
        if self._entries > self._limits.entries:
            raise refused(member, f"the archive has more than {self._limits.entries} entries")

    def _hold(self, size: int, member: Member) -> None:
        """Count what stays in memory until the end. What a later member replaces is not given back."""
        self._held += size
        if self._held > self._limits.metadata:
            raise refused(member, f"its names, targets and attributes take more than {self._limits.metadata} bytes")

    def _metadata(self, member: Member) -> Metadata:
        xattrs = self._xattrs(member) if member.extensions else ()
        seconds, nanoseconds = (0, 0) if self._clamp else (member.seconds, member.nanoseconds)
        return Metadata(member.mode, member.uid, member.gid, seconds, nanoseconds, xattrs)

    def _xattrs(self, member: Member) -> Xattrs:
        found: dict[bytes, bytes] = {}
        for key, value in member.extensions.items():
            if key in _ACLS:
                self._add_acl(found, _ACLS[key], value, member)
                continue
            pair = _decode_xattr(key, value, member)
            if pair is None:
                continue
            name = os.fsdecode(pair[0])
            if is_overlay(name):
                raise refused(member, f"its attribute '{_shown(pair[0])}' is one of overlayfs")
            if why := why_left_out(name):
                self._notes.add(why, member.name)
            else:
                found[pair[0]] = pair[1]
        for key, value in found.items():
            if len(value) > _MAX_XATTR:
                raise refused(member, f"its attribute '{_shown(key)}' has more than {_MAX_XATTR} bytes")
            self._hold(len(key) + len(value) + _XATTR_COST, member)
        return tuple(sorted(found.items()))

    def _add_acl(self, found: dict[bytes, bytes], name: str, text: bytes, member: Member) -> None:
        try:
            value = acl.parse_acl_text(text, default=name == ACL_DEFAULT)
        except ValueError:
            self._notes.add("ACLs that are damaged or name users without a number", member.name)
            return
        if value is not None:
            found[name.encode()] = value

    def _finish(self, links: HardLinks) -> bytes:
        """Stage the records of all directories, the deepest first; return the digest of the root's."""
        self._writer.settle()
        stack: list[tuple[bytes, bytes, _Folder, Iterator[bytes], list[Node]]] = []

        def enter(path: bytes, name: bytes, folder: _Folder) -> None:
            stack.append((path, name, folder, iter(sorted(folder.children)), []))

        enter(b"", b"", self._root)
        while True:
            path, name, folder, names, entries = stack[-1]
            for child_name in names:
                child = folder.children[child_name]
                child_path = below.join(path, child_name)
                if isinstance(child, _Folder):
                    enter(child_path, child_name, child)
                    break
                is_shared = id(child) in self._shared
                if is_shared:
                    links.add(id(child), child_path)
                if isinstance(child, _File):
                    self.files += 1
                    self.bytes += child.size
                    entries.append(child.entry(child_name))
                else:
                    entries.append(msgspec.structs.replace(child, name=child_name) if is_shared else child)
            else:
                stack.pop()
                digest = self._writer.add_record(DirectoryRecord(tuple(entries)))
                if not stack:
                    return digest
                stack[-1][4].append(DirectoryEntry(name, folder.metadata, digest))


def _whole(reader: TarReader, member: Member) -> bytes:
    """Return the content of a small file; holes are zeros, which are not written."""
    if member.segments is None:
        return b"".join(data for _, data in reader.content(member))
    content = bytearray(member.size)
    for offset, data in reader.content(member):
        content[offset : offset + len(data)] = data
    return bytes(content)


def _decode_xattr(key: bytes, value: bytes, member: Member) -> tuple[bytes, bytes] | None:
    """Return name and value if a pax record is an extended attribute."""
    if key.startswith(_SCHILY):
        name = unescape_xattr_name(key.removeprefix(_SCHILY))
    elif key.startswith(_LIBARCHIVE):
        name = urllib.parse.unquote_to_bytes(key.removeprefix(_LIBARCHIVE))
        try:
            value = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
        except binascii.Error as error:
            raise refused(member, f"its attribute '{_shown(name)}' is damaged") from error
    else:
        return None
    if not 0 < len(name) <= _MAX_NAME or b"\0" in name:
        raise refused(member, "an extended attribute has an impossible name")
    return name, value


def refused(member: Member, why: str) -> ArchiveInvalid:
    """Return the error for one member."""
    return ArchiveInvalid(f"Invalid archive at '{_shown(member.name)}': {why}", hint="Nothing of it was kept.")


def _shown(name: bytes) -> str:
    return below.shown(name[:_SHOWN])
