"""Scanning a directory into tree records; :mod:`volt_cas.ingest` does the same by the extension."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from volt_cas import below
from volt_cas.adopt import Adopter
from volt_cas.errors import source_changed, tree_too_deep
from volt_cas.exclude import Matcher
from volt_cas.hardlinks import HardLinks
from volt_cas.layout import Layout
from volt_cas.metadata import TYPES, Xattrs, is_whiteout, metadata_of, read_xattrs
from volt_cas.mounts import mount_points_below
from volt_cas.notes import Notes
from volt_cas.record import (
    MAX_DEPTH,
    NANOSECONDS,
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
from volt_cas.source import MOUNTED, SOCKET, STORE, WHITEOUT, open_source
from volt_cas.sparse import PIECE, data_ranges
from volt_cas.statcache import StatCache
from volt_cas.writer import ObjectStream, Writer
from volt_core import native
from volt_core.contracts import EntryType, MtimePolicy, Progress
from volt_core.native import WalkEntry

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Frame(msgspec.Struct):
    """A directory whose children are being read."""

    path: bytes
    name: bytes
    metadata: Metadata
    entries: list[Node]


class Scan:
    """One pass over a source directory.

    Attributes:
        files, bytes: what it held; every name of a hard-linked file counts.
        notes: what was left out.
    """

    def __init__(
        self,
        layout: Layout,
        writer: Writer,
        cache: StatCache,
        *,
        exclude: Sequence[str],
        mtime: MtimePolicy,
        progress: Progress,
        adopt: bool = False,
    ) -> None:
        self._writer = writer
        self._cache = cache
        self._is_excluded = Matcher(exclude)
        self._clamp = mtime is MtimePolicy.CLAMP
        self._progress = progress
        info = os.stat(layout.path)
        self._store = info.st_dev, info.st_ino
        self._adopter = Adopter(info.st_dev) if adopt else None
        self._links = HardLinks()
        self._inodes: dict[tuple[int, int], Node] = {}
        self._mounted: frozenset[bytes] = frozenset()
        self._folder = -1
        self._folder_path: bytes | None = None
        self._folders: dict[bytes, tuple[int, int]] = {}
        self.files = 0
        self.bytes = 0
        self.notes = Notes()

    def run(self, source: Path, *, one_file_system: bool) -> bytes:
        """Stage everything below `source`; return the digest of the top record."""
        self._cache.load()
        with open_source(source) as root:
            try:
                if one_file_system:
                    self._mounted = mount_points_below(root)
                digest = self._scan(root, native.walk(root, one_file_system=one_file_system))
            finally:
                if self._folder >= 0:
                    os.close(self._folder)
        self._cache.save()
        return digest

    def _scan(self, root: int, walk: Iterator[WalkEntry]) -> bytes:
        top = next(walk)
        frames = [_Frame(b"", b"", self._metadata(top, self._xattrs(root, b"")), [])]
        self._folders[b""] = top.dev, top.ino
        skipped: bytes | None = None
        for item in walk:
            if skipped is not None and item.path.startswith(skipped):
                continue
            skipped = None
            parent, name = below.split(item.path)
            while frames[-1].path != parent:
                self._close(frames)
            if self._is_left_out(item):
                skipped = item.path + b"/"
                continue
            self._enter(root, parent)
            if stat.S_ISDIR(item.mode):
                metadata = self._metadata(item, self._xattrs(below.through(self._folder, name), item.path))
                self._folders[item.path] = item.dev, item.ino
                if len(frames) == MAX_DEPTH:
                    raise tree_too_deep(item.path)
                frames.append(_Frame(item.path, name, metadata, []))
                if item.path in self._mounted:
                    skipped = item.path + b"/"
            else:
                frames[-1].entries.append(self._node(item, name))
        while len(frames) > 1:
            self._close(frames)
        digest = self._writer.add_record(DirectoryRecord(tuple(frames[0].entries)))
        return self._writer.add_tree(frames[0].metadata, digest, self._links.groups())

    def _close(self, frames: list[_Frame]) -> None:
        frame = frames.pop()
        digest = self._writer.add_record(DirectoryRecord(tuple(frame.entries)))
        frames[-1].entries.append(DirectoryEntry(frame.name, frame.metadata, digest))
        del self._folders[frame.path]

    def _is_left_out(self, item: WalkEntry) -> bool:
        if self._is_excluded(item.path):
            return True
        if (item.dev, item.ino) == self._store:
            self.notes.add(STORE, item.path)
            return True
        if item.path in self._mounted and not stat.S_ISDIR(item.mode):
            self.notes.add(MOUNTED, item.path)
            return True
        kind = TYPES.get(stat.S_IFMT(item.mode))
        if kind is None:
            self.notes.add(SOCKET, item.path)
            return True
        if is_whiteout(kind, os.major(item.rdev), os.minor(item.rdev)):
            self.notes.add(WHITEOUT, item.path)
            return True
        return False

    def _enter(self, root: int, path: bytes) -> None:
        """Have the directory open whose children come next, and be sure that it is the one that was listed."""
        if self._folder_path == path:
            return
        try:
            descriptor = below.open_folder(root, path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise source_changed(path) from error
            raise
        if self._folder >= 0:
            os.close(self._folder)
        self._folder, self._folder_path = descriptor, path
        info = os.fstat(descriptor)
        if (info.st_dev, info.st_ino) != self._folders[path]:
            raise source_changed(path)

    def _node(self, item: WalkEntry, name: bytes) -> Node:
        inode = item.dev, item.ino
        if item.nlink > 1:
            self._links.add(inode, item.path)
            known = self._inodes.get(inode)
            if known is not None:
                if isinstance(known, FileEntry):
                    self._count(known.size)
                return msgspec.structs.replace(known, name=name)
        node = self._new_node(item, name)
        if item.nlink > 1:
            self._inodes[inode] = node
        return node

    def _new_node(self, item: WalkEntry, name: bytes) -> Node:
        kind = TYPES[stat.S_IFMT(item.mode)]
        if kind is EntryType.FILE:
            return self._file(item, name)
        if kind is EntryType.SYMLINK:
            try:
                target = os.readlink(name, dir_fd=self._folder)
            except OSError as error:
                raise source_changed(item.path) from error
            return SymlinkEntry(name, msgspec.structs.replace(self._metadata(item, ()), mode=0o777), target)
        metadata = self._metadata(item, self._xattrs(below.through(self._folder, name), item.path))
        if kind is EntryType.FIFO:
            return FifoEntry(name, metadata)
        make = CharacterEntry if kind is EntryType.CHARACTER else BlockEntry
        return make(name, metadata, os.major(item.rdev), os.minor(item.rdev))

    def _file(self, item: WalkEntry, name: bytes) -> FileEntry:
        hit = self._cache.find(item)
        if hit is not None and self._writer.have(hit.digest, item.size):
            self._count(item.size)
            return FileEntry(name, self._metadata(item, hit.xattrs), item.size, hit.digest)
        try:
            descriptor = os.open(name, _FILE, dir_fd=self._folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                raise source_changed(item.path) from error
            raise OSError(error.errno, error.strerror, item.path) from error
        try:
            info = os.fstat(descriptor)
            if (info.st_dev, info.st_ino) != (item.dev, item.ino):
                raise source_changed(item.path)
            xattrs = self._xattrs(descriptor, item.path)
            metadata = self._clamped(metadata_of(info, xattrs))
            digest = self._adopted(descriptor, info, item, metadata)
            if digest is None:
                digest = self._read(descriptor, info, item, metadata)
            else:
                info = os.fstat(descriptor)  # a link changes the ctime
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (info.st_size, info.st_mtime_ns, info.st_ctime_ns) != (after.st_size, after.st_mtime_ns, after.st_ctime_ns):
            raise source_changed(item.path)
        self._cache.remember(info, digest, xattrs)
        self._count(info.st_size)
        return FileEntry(name, metadata, info.st_size, digest)

    def _adopted(self, descriptor: int, info: os.stat_result, item: WalkEntry, metadata: Metadata) -> bytes | None:
        """Make an open file itself the object; return its digest, or None if it must be copied."""
        if self._adopter is None or not info.st_size:
            return None
        why = self._adopter.why_not(descriptor, info, metadata)
        if why is None:
            digest, size = native.hash_file(descriptor)
            after = os.fstat(descriptor)
            if size != info.st_size or (info.st_mtime_ns, info.st_ctime_ns) != (after.st_mtime_ns, after.st_ctime_ns):
                raise source_changed(item.path)
            try:
                if self._writer.adopt(descriptor, digest, size):
                    return digest
            except FileNotFoundError as error:
                raise source_changed(item.path) from error
            os.lseek(descriptor, 0, os.SEEK_SET)
            why = "that the file system does not link"
        self.notes.add(why, item.path, done="Copied instead of adopted files")
        return None

    def _read(self, descriptor: int, info: os.stat_result, item: WalkEntry, metadata: Metadata) -> bytes:
        """Stage the content of an open file unless it is known; return its digest."""
        if info.st_size <= PIECE:
            data = os.read(descriptor, info.st_size + 1)
            if len(data) != info.st_size:
                raise source_changed(item.path)
            return self._writer.add(data, metadata)
        if self._cache.had(item):
            digest, size = native.hash_file(descriptor)
            if size == info.st_size and self._writer.have(digest, size):
                return digest
            os.lseek(descriptor, 0, os.SEEK_SET)
        with self._writer.stream() as stream:
            _feed(stream, descriptor, info)
            digest, size = stream.finish(metadata)
        if size != info.st_size:
            raise source_changed(item.path)
        return digest

    def _count(self, size: int) -> None:
        self.files += 1
        self.bytes += size
        self._progress.advance(size, 1)

    def _xattrs(self, path: bytes | int, shown: bytes) -> Xattrs:
        xattrs, left_out = read_xattrs(path)
        for what in left_out:
            self.notes.add(what, shown)
        return xattrs

    def _metadata(self, item: WalkEntry, xattrs: Xattrs) -> Metadata:
        seconds, nanoseconds = divmod(item.mtime_ns, NANOSECONDS)
        return self._clamped(Metadata(stat.S_IMODE(item.mode), item.uid, item.gid, seconds, nanoseconds, xattrs))

    def _clamped(self, metadata: Metadata) -> Metadata:
        return msgspec.structs.replace(metadata, seconds=0, nanoseconds=0) if self._clamp else metadata


def _feed(stream: ObjectStream, descriptor: int, info: os.stat_result) -> None:
    position = 0
    has_holes = info.st_blocks * 512 < info.st_size
    for start, end in data_ranges(descriptor, info.st_size) if has_holes else ((0, info.st_size),):
        stream.skip(start - position)
        position = start
        while position < end and (data := os.pread(descriptor, min(PIECE, end - position), position)):
            stream.write(data)
            position += len(data)
    if has_holes:
        stream.skip(info.st_size - position)
