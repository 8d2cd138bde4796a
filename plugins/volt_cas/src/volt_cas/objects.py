"""Reading what is stored, and writing to it: hash, decide, stage, make durable, link into place.

What one run adds is staged in a directory of its own below ``tmp/`` and appears under its final name only
after a ``syncfs``; so whatever has a final name is whole, also after a power failure.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from volt_cas import record
from volt_cas.adopt import link_open_file
from volt_cas.layout import Layout, digest_text, fan_out
from volt_cas.metadata import Applier
from volt_cas.record import MAX_DEPTH, DirectoryRecord, LinksRecord, Metadata, Record, TreeRecord
from volt_cas.staging import open_staging, sync_filesystem
from volt_core.errors import ObjectCorrupt, ObjectMissing, StoreError

SMALL = 1024 * 1024
"""Bytes; a file up to this size is read once, into memory."""
_BLOCK = 4096
_ZEROS = bytes(_BLOCK)
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OBJECTS = b"objects/"
_TREES = b"trees/"


def open_object(layout: Layout, digest: bytes, size: int) -> int:
    """Return a descriptor of the content. Raises :class:`ObjectMissing` and :class:`ObjectCorrupt`."""
    try:
        descriptor = os.open(layout.object_path(digest), _READ)
    except FileNotFoundError as error:
        raise ObjectMissing(
            f"The store has no object {digest_text(digest)}",
            hint="Run 'volt cas verify' to see what is affected, then put the tree again.",
        ) from error
    except OSError as error:
        raise StoreError(f"Cannot read object {digest_text(digest)}: {error.strerror}") from error
    found = os.fstat(descriptor).st_size
    if found != size:
        os.close(descriptor)
        raise ObjectCorrupt(
            f"Object {digest_text(digest)} is damaged: it has {found} bytes instead of {size}",
            hint="Put the tree again: that replaces it.",
        )
    return descriptor


def read_record(layout: Layout, digest: bytes) -> Record:
    """Return a record. Raises :class:`ObjectMissing` and :class:`ObjectCorrupt`."""
    try:
        data = layout.tree_path(digest).read_bytes()
    except FileNotFoundError as error:
        raise ObjectMissing(
            f"The store has no tree record {digest_text(digest)}",
            hint="Run 'volt cas verify' to see what is affected, then put the tree again.",
        ) from error
    except OSError as error:
        raise StoreError(f"Cannot read tree record {digest_text(digest)}: {error.strerror}") from error
    return record.decode(data, digest)


def read_tree(layout: Layout, digest: bytes) -> TreeRecord:
    """Return a top record. Raises also when the digest is that of a directory inside a tree."""
    if not layout.tree_path(digest).exists():
        raise ObjectMissing(f"The store has no tree {digest_text(digest)}", hint="'volt cas status' lists the refs.")
    found = read_record(layout, digest)
    if not isinstance(found, TreeRecord):
        raise ObjectMissing(f"{digest_text(digest)} is a part of a tree", hint="Name the tree's own digest.")
    return found


def read_groups(layout: Layout, tree: TreeRecord) -> dict[bytes, int]:
    """Return the number, from 1, of the hard-link group that each hard-linked path of the tree is in."""
    if tree.links is None:
        return {}
    found = read_record(layout, tree.links)
    if not isinstance(found, LinksRecord):
        raise ObjectCorrupt(f"Tree record {digest_text(tree.links)} is not that of hard links")
    return {path: number for number, group in enumerate(found.groups, 1) for path in group}


def read_directory(layout: Layout, digest: bytes, depth: int = 0) -> DirectoryRecord:
    """Return a directory record; `depth` counts the directories above it in the tree that is walked."""
    if depth >= MAX_DEPTH:
        raise ObjectCorrupt(f"Tree record {digest_text(digest)} is too deep: a tree has at most {MAX_DEPTH} levels")
    found = read_record(layout, digest)
    if not isinstance(found, DirectoryRecord):
        raise ObjectCorrupt(f"Tree record {digest_text(digest)} is not that of a directory")
    return found


class Writer:
    """What one run adds to a store; made by :func:`open_writer`.

    Attributes:
        new_objects, new_bytes: what was not there before.
    """

    def __init__(self, layout: Layout, staging: Path) -> None:
        self._layout = layout
        self._staging = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._store = os.open(layout.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.mkdir(b"objects", 0o700, dir_fd=self._staging)
        os.mkdir(b"trees", 0o700, dir_fd=self._staging)
        self._applier = Applier()
        self._known: set[bytes] = set()
        self._known_trees: set[bytes] = set()
        self._tops: set[bytes] = set()
        self._replace: set[bytes] = set()
        self.new_objects = 0
        self.new_bytes = 0

    def close(self) -> None:
        """Close the directories."""
        os.close(self._staging)
        os.close(self._store)

    def have(self, digest: bytes, size: int) -> bool:
        """Tell whether the content is stored or staged.

        A stored object of another size is damaged: it counts as missing, and the new one replaces it.
        """
        if size == 0 or digest in self._known:
            return True
        try:
            found = os.stat("objects/" + fan_out(digest), dir_fd=self._store, follow_symlinks=False).st_size
        except FileNotFoundError:
            return False
        if found != size:
            self._replace.add(digest)
            return False
        self._known.add(digest)
        return True

    def add(self, data: bytes, metadata: Metadata) -> bytes:
        """Stage content that is in memory unless it is there; return its digest. The inode gets `metadata`."""
        digest = hashlib.sha256(data).digest()
        if not self.have(digest, len(data)):
            path = _OBJECTS + digest.hex().encode()
            descriptor = os.open(path, _CREATE, 0o600, dir_fd=self._staging)
            try:
                write_sparse(descriptor, data, 0)
                os.ftruncate(descriptor, len(data))
                self.finish(descriptor, metadata)
            finally:
                os.close(descriptor)
            self._count(digest, len(data))
        return digest

    def adopt(self, descriptor: int, digest: bytes, size: int) -> bool:
        """Make an open file itself the object unless there is one; see :mod:`volt_cas.adopt` for which may be.

        Return False if the file system refuses that.
        """
        if not self.have(digest, size):
            if not link_open_file(descriptor, self._staging, _OBJECTS + digest.hex().encode()):
                return False
            self._count(digest, size)
        return True

    @contextlib.contextmanager
    def stream(self) -> Iterator[ObjectStream]:
        """Give a receiver for content that is too large for memory; nothing is kept unless it is finished."""
        path = _OBJECTS + b"." + os.urandom(8).hex().encode()
        descriptor = os.open(path, _CREATE, 0o600, dir_fd=self._staging)
        try:
            yield ObjectStream(self, descriptor, path)
        finally:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path, dir_fd=self._staging)

    def add_tree(self, metadata: Metadata, directory: bytes, groups: tuple[tuple[bytes, ...], ...]) -> bytes:
        """Stage the top record of a tree whose directory records are staged; return its digest."""
        links = self.add_record(LinksRecord(groups)) if groups else None
        return self.add_record(TreeRecord(metadata, directory, links))

    def add_record(self, value: Record) -> bytes:
        """Stage a record unless it is there; return its digest.

        Raises :class:`ObjectCorrupt` for one that nobody could read again.
        """
        data = record.encode(value)
        digest = record.address(data)
        if digest in self._known_trees:
            return digest
        self._known_trees.add(digest)
        if self._is_stored(digest, data):
            return digest
        record.decode(data, digest)
        name = digest.hex().encode()
        if isinstance(value, TreeRecord):
            self._tops.add(name)
        descriptor = os.open(_TREES + name, _CREATE, 0o600, dir_fd=self._staging)
        with open(descriptor, "wb", buffering=0) as file:
            file.write(data)
        return digest

    def _is_stored(self, digest: bytes, data: bytes) -> bool:
        """Tell whether the record is stored, and soundly: it is small enough to look."""
        path = "trees/" + fan_out(digest)
        try:
            descriptor = os.open(path, _READ, dir_fd=self._store)
        except FileNotFoundError:
            return False
        with open(descriptor, "rb", buffering=0) as file:
            if file.read() != data:
                self._replace.add(digest)
                return False
            # The age of an unreferenced tree counts from its last use.
            os.utime(descriptor)
        return True

    def publish(self) -> None:
        """Make what was staged durable, then visible: top records last, when what they name is durable too."""
        objects, trees = (
            set(os.listdir(b"/proc/self/fd/%d/%s" % (self._staging, folder))) for folder in (b"objects", b"trees")
        )
        if not objects and not trees:
            return
        tops = trees & self._tops
        sync_filesystem(self._staging)
        for name in objects:
            self._link(b"objects", name)
        for name in trees - tops:
            self._link(b"trees", name)
        if tops:
            # Also for what another run has linked: whoever finds a top record may rely on all of the tree.
            sync_filesystem(self._store)
            for name in tops:
                self._link(b"trees", name)

    def _link(self, folder: bytes, name: bytes) -> None:
        source = folder + b"/" + name
        target = folder + b"/" + name[:2] + b"/" + name[2:]
        if bytes.fromhex(name.decode()) in self._replace:
            os.rename(source, target, src_dir_fd=self._staging, dst_dir_fd=self._store)
            return
        for _ in range(2):
            try:
                os.link(source, target, src_dir_fd=self._staging, dst_dir_fd=self._store, follow_symlinks=False)
                return
            except FileExistsError:
                return  # another run was quicker
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder + b"/" + name[:2], 0o700, dir_fd=self._store)
        raise FileNotFoundError(target)

    def finish(self, descriptor: int, metadata: Metadata) -> None:
        applicable = self._applier.applicable(metadata)
        if not applicable.mode & 0o400 and os.geteuid() != 0:
            # Its owner must be able to read it again; a linked checkout makes a variant with the true mode.
            applicable = msgspec.structs.replace(applicable, mode=applicable.mode | 0o400)
        self._applier.apply(descriptor, applicable)

    def _count(self, digest: bytes, size: int) -> None:
        self._known.add(digest)
        self.new_objects += 1
        self.new_bytes += size


class ObjectStream:
    """Takes content piece by piece, hashes it, and writes it with holes where it is zero."""

    def __init__(self, writer: Writer, descriptor: int, path: bytes) -> None:
        self._writer = writer
        self._descriptor = descriptor
        self._path = path
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._hash.update(data)
        write_sparse(self._descriptor, data, self._size)
        self._size += len(data)

    def skip(self, size: int) -> None:
        """Append `size` zero bytes that take no room."""
        zeros = bytes(min(size, SMALL))
        left = size
        while left:
            part = min(left, len(zeros))
            self._hash.update(zeros if part == len(zeros) else zeros[:part])
            left -= part
        self._size += size

    def finish(self, metadata: Metadata) -> tuple[bytes, int]:
        """Stage the content unless it is there; return digest and size."""
        digest = self._hash.digest()
        writer = self._writer
        if not writer.have(digest, self._size):
            os.ftruncate(self._descriptor, self._size)
            writer.finish(self._descriptor, metadata)
            staged = _OBJECTS + digest.hex().encode()
            os.rename(self._path, staged, src_dir_fd=writer._staging, dst_dir_fd=writer._staging)
            writer._count(digest, self._size)
        return digest, self._size


@contextlib.contextmanager
def open_writer(layout: Layout) -> Iterator[Writer]:
    """Give a writer; what it has staged and not published is dropped at the end."""
    with open_staging(layout) as staging:
        writer = Writer(layout, staging)
        try:
            yield writer
        finally:
            writer.close()


def write_sparse(descriptor: int, data: bytes, offset: int) -> None:
    """Write `data` at `offset` of a fresh file, leaving out aligned blocks of zeros; the caller sets the size."""
    view = memoryview(data)
    start: int | None = None
    position = 0
    while position < len(data):
        length = min(_BLOCK - (offset + position) % _BLOCK, len(data) - position)
        block = data[position : position + length]
        if block == _ZEROS[:length]:
            if start is not None:
                _write_all(descriptor, view[start:position], offset + start)
                start = None
        elif start is None:
            start = position
        position += length
    if start is not None:
        _write_all(descriptor, view[start:], offset + start)


def copy_content(source: int, target: int, size: int) -> None:
    """Copy an object into a fresh file, with its holes."""
    if size <= SMALL:
        write_sparse(target, os.read(source, size), 0)
    else:
        for start, end in data_ranges(source, size):
            position = start
            while position < end and (data := os.pread(source, min(SMALL, end - position), position)):
                _write_all(target, memoryview(data), position)
                position += len(data)
    os.ftruncate(target, size)


def data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the parts of a file that are no holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        if start < end:
            yield start, end


def _write_all(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written
