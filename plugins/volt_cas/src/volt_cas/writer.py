"""Writing to a store: hash, decide, stage, make durable, put into place.

What one run adds is staged in a directory of its own below ``tmp/`` and appears under its final name only
after a ``syncfs``; so whatever has a final name is whole, also after a power failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from volt_cas import record
from volt_cas.adopt import link_open_file
from volt_cas.layout import Layout, fan_out
from volt_cas.metadata import Applier
from volt_cas.publish import (
    OBJECTS,
    OWN,
    TOPS,
    TREES,
    have_staged,
    make_staging_folder,
    publish,
    publish_tops,
    staged_name,
)
from volt_cas.record import LinksRecord, Metadata, Record, TreeRecord
from volt_cas.sparse import PIECE, write_sparse
from volt_cas.staging import open_staging, sync_filesystem
from volt_core import native
from volt_core.native.staging import StagedFile

if TYPE_CHECKING:
    from volt_cas.behind import Behind

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Writer:
    """What one run adds to a store; made by :func:`open_writer`.

    Attributes:
        new_objects, new_bytes: what was not there before.
        staging_fd, store_fd: the directories that it writes to, for as long as it is open.
    """

    def __init__(self, layout: Layout, staging: Path) -> None:
        self._layout = layout
        self.staging_fd = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.store_fd = os.open(layout.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._applier = Applier()
        self._known: set[bytes] = set()
        self._known_trees: set[bytes] = set()
        self._replace: set[bytes] = set()
        self._distrusted: set[bytes] = set()
        self._behind: Behind | None = None
        self.new_objects = 0
        self.new_bytes = 0

    def close(self) -> None:
        """Close the directories."""
        if self._behind is not None:
            self._behind.close()
        os.close(self.staging_fd)
        os.close(self.store_fd)

    def have(self, digest: bytes, size: int) -> bool:
        """Tell whether the content is stored or staged.

        A stored object of another size is damaged: it counts as missing, and the new one replaces it.
        """
        if size == 0 or digest in self._known:
            return True
        if digest in self._distrusted:
            return False
        try:
            found = os.stat("objects/" + fan_out(digest), dir_fd=self.store_fd, follow_symlinks=False).st_size
        except FileNotFoundError:
            return False
        if found != size:
            self._replace.add(digest)
            return False
        self._known.add(digest)
        return True

    def distrust(self, digest: bytes) -> None:
        """Take a stored object for missing, whatever its size: what is added now replaces it."""
        self._distrusted.add(digest)
        self._replace.add(digest)

    def add(self, data: bytes, metadata: Metadata) -> bytes:
        """Stage content that is in memory unless it is there; return its digest. The inode gets `metadata`."""
        digest = hashlib.sha256(data).digest()
        self.add_hashed(digest, data, metadata)
        return digest

    def add_behind(self, data: bytes, metadata: Metadata) -> StagedFile:
        """Do as :meth:`add` for content of at most :data:`PIECE`; what is returned has the digest after :meth:`settle`.

        Larger content goes to a :meth:`stream`: what is both in the one and behind would be counted twice.
        """
        file = StagedFile(data, record.encode_metadata(metadata))
        behind = self._find_behind()
        if behind is None:
            file.digest, file.data = self.add(data, metadata), b""
        else:
            behind.add(file)
        return file

    def settle(self) -> None:
        """Wait for all that is being written behind."""
        if self._behind is not None:
            self.count(*self._behind.flush())

    def add_hashed(self, digest: bytes, data: bytes, metadata: Metadata) -> None:
        """Stage content in memory whose digest the caller has worked out, unless it is there."""
        if self.have(digest, len(data)):
            return
        behind = self._find_behind()
        if behind is not None:
            encoded = record.encode_metadata(metadata)
            behind.add(StagedFile(data, encoded, digest, replaces=digest in self._replace))
        else:
            descriptor = self.create(OBJECTS, digest)
            try:
                write_sparse(descriptor, data, 0)
                os.ftruncate(descriptor, len(data))
                self.finish(descriptor, metadata)
            finally:
                os.close(descriptor)
        self._count(digest, len(data))

    def adopt(self, descriptor: int, digest: bytes, size: int) -> bool:
        """Make an open file itself the object unless there is one; see :mod:`volt_cas.adopt` for which may be.

        Return False if the file system refuses that.
        """
        if not self.have(digest, size):
            path = self._own_path(OBJECTS, digest)
            make_staging_folder(self.staging_fd, os.path.dirname(path))
            if not link_open_file(descriptor, self.staging_fd, path.encode()):
                return False
            self._count(digest, size)
        return True

    @contextlib.contextmanager
    def stream(self, digest: bytes | None = None) -> Iterator[ObjectStream]:
        """Give a receiver for content that is too large for memory; nothing is kept unless it is finished.

        With `digest` the caller answers for it, and the content is not hashed here.
        """
        path = f".{os.urandom(8).hex()}"
        descriptor = os.open(path, _CREATE, 0o600, dir_fd=self.staging_fd)
        try:
            yield ObjectStream(self, descriptor, path, digest)
        finally:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path, dir_fd=self.staging_fd)

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
        if self._lacks_record(digest, data):
            record.decode(data, digest)
            self._stage_record(digest, data, is_top=isinstance(value, TreeRecord))
        return digest

    def add_decoded(self, digest: bytes, data: bytes, *, is_top: bool) -> bool:
        """Stage an encoded record that the caller has decoded, and thereby checked; tell whether it was not there."""
        if not self._lacks_record(digest, data):
            return False
        self._stage_record(digest, data, is_top=is_top)
        return True

    def _lacks_record(self, digest: bytes, data: bytes) -> bool:
        if digest in self._known_trees:
            return False
        self._known_trees.add(digest)
        return not self._is_stored(digest, data)

    def _stage_record(self, digest: bytes, data: bytes, *, is_top: bool) -> None:
        behind = None if is_top else self._find_behind()
        if behind is not None:
            behind.add(StagedFile(data, b"", digest, replaces=digest in self._replace))
            return
        descriptor = self.create(TOPS if is_top else TREES, digest)
        with open(descriptor, "wb", buffering=0) as file:
            file.write(data)

    def _is_stored(self, digest: bytes, data: bytes) -> bool:
        """Tell whether the record is stored, and soundly: it is small enough to look."""
        path = "trees/" + fan_out(digest)
        try:
            descriptor = os.open(path, _READ, dir_fd=self.store_fd)
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
        self.settle()
        if not have_staged(self.staging_fd):
            return
        sync_filesystem(self.staging_fd)
        publish(self.staging_fd, self.store_fd)
        # Also for what another run has linked: whoever finds a top record may rely on all of the tree.
        sync_filesystem(self.store_fd)
        publish_tops(self.staging_fd, self.store_fd)

    def count(self, objects: int, content: int) -> None:
        """Count what somebody else has staged: so many objects with so many bytes."""
        self.new_objects += objects
        self.new_bytes += content

    def create(self, folder: str, digest: bytes) -> int:
        """Return a descriptor of a new staged file for an object or a record."""
        path = self._own_path(folder, digest)
        try:
            return os.open(path, _CREATE, 0o600, dir_fd=self.staging_fd)
        except FileNotFoundError:
            make_staging_folder(self.staging_fd, os.path.dirname(path))
            return os.open(path, _CREATE, 0o600, dir_fd=self.staging_fd)

    def _own_path(self, folder: str, digest: bytes) -> str:
        """Return where in the staging directory the Python code puts an object or a record."""
        return f"{OWN}/{staged_name(folder, digest, replace=digest in self._replace)}"

    def _find_behind(self) -> Behind | None:
        """Return what writes files from memory; None where it is for the caller to do."""
        if self._behind is None:
            extension = native.find_extension()
            if extension is not None:
                from volt_cas.behind import Behind

                self._behind = Behind(extension, self.store_fd, self.staging_fd, self._applier.owner)
        return self._behind

    def finish(self, descriptor: int, metadata: Metadata) -> None:
        applicable = self._applier.applicable(metadata)
        if not applicable.mode & 0o400 and os.geteuid() != 0:
            # Its owner must be able to read it again; a linked checkout makes a variant with the true mode.
            applicable = msgspec.structs.replace(applicable, mode=applicable.mode | 0o400)
        self._applier.apply(descriptor, applicable)

    def _count(self, digest: bytes, size: int) -> None:
        self._known.add(digest)
        self.count(1, size)


class ObjectStream:
    """Takes content piece by piece, hashes it, and writes it with holes where it is zero."""

    def __init__(self, writer: Writer, descriptor: int, path: str, digest: bytes | None) -> None:
        self._writer = writer
        self._descriptor = descriptor
        self._path = path
        self._digest = digest
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append `data`."""
        if self._digest is None:
            self._hash.update(data)
        write_sparse(self._descriptor, data, self._size)
        self._size += len(data)

    def skip(self, size: int) -> None:
        """Append `size` zero bytes that take no room."""
        zeros = bytes(min(size, PIECE))
        left = size
        while left:
            part = min(left, len(zeros))
            self._hash.update(zeros if part == len(zeros) else zeros[:part])
            left -= part
        self._size += size

    def is_(self, digest: bytes, size: int) -> bool:
        """Tell whether what came so far has this digest and this size."""
        return self._size == size and self._hash.digest() == digest

    def finish(self, metadata: Metadata) -> tuple[bytes, int]:
        """Stage the content unless it is there; return digest and size."""
        digest = self._digest or self._hash.digest()
        writer = self._writer
        if not writer.have(digest, self._size):
            os.ftruncate(self._descriptor, self._size)
            writer.finish(self._descriptor, metadata)
            staged = writer._own_path(OBJECTS, digest)
            make_staging_folder(writer.staging_fd, os.path.dirname(staged))
            os.rename(self._path, staged, src_dir_fd=writer.staging_fd, dst_dir_fd=writer.staging_fd)
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
