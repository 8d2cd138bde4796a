"""Linking stored files into a checkout: an inode with the right metadata, which is the object itself or a variant.

A variant is the same content on another inode, kept as ``variants/ab/cd….METADATA[.N]``: the digest of the
content, the digest of the metadata, and a number from 1 for siblings, which are needed where a file system
limits the links of one inode (65,000 on ext4). The metadata is what the inode truly has: where the file system
refuses some of it, less than the record says.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from volt_cas import below
from volt_cas.layout import Layout, fan_out
from volt_cas.metadata import Applier, is_overlay, metadata_of, read_xattrs
from volt_cas.objects import open_object
from volt_cas.record import FileEntry, Metadata, metadata_digest
from volt_cas.sparse import copy_content
from volt_cas.staging import sync_filesystem
from volt_core.errors import StoreError

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class _Variant(NamedTuple):
    """One that has no name in the store yet."""

    staged: Path
    entry: FileEntry
    metadata: Metadata
    number: int


class Linker:
    """Makes hard links to stored content for one checkout. `staging` is a directory for what is being made.

    Variants get their names at the end, by :meth:`keep`: to make each of thousands durable would take as long as
    writing them does. Until then they are linked from where they are staged.

    Attributes:
        max_links: of an inode; None stands for the limit of the file system.
    """

    def __init__(self, layout: Layout, staging: Path, applier: Applier, *, max_links: int | None = None) -> None:
        self._layout = layout
        self._staging = staging
        self._applier = applier
        self.max_links = max_links
        self._chosen: dict[tuple[bytes, Metadata], Path] = {}
        self._made: dict[Path, _Variant] = {}

    def keep(self) -> None:
        """Give the variants that were made their names, when they are durable."""
        if not self._made:
            return
        with below.opened(self._staging) as descriptor:
            sync_filesystem(descriptor)
        for variant in self._made.values():
            self._keep(variant)

    def _keep(self, variant: _Variant) -> None:
        for number in itertools.count(variant.number):
            path = self._path(variant.entry, variant.metadata, number)
            # Another checkout may have been quicker: its inode keeps this name, so ours is a sibling.
            if not _has(path, variant.entry.size, variant.metadata):
                path.parent.mkdir(mode=0o700, exist_ok=True)
                os.rename(variant.staged, path)
                return

    def link(self, entry: FileEntry, folder: int) -> None:
        """Make `entry.name` in the open directory `folder` a link to its content."""
        metadata = self._applier.applicable(entry.metadata)
        key = entry.digest, metadata
        source = self._chosen.get(key)
        if source is not None and self._try(source, entry, folder):
            return
        for source in self._candidates(entry, metadata):
            if self._try(source, entry, folder):
                self._chosen[key] = source
                return

    def _candidates(self, entry: FileEntry, metadata: Metadata) -> Iterator[Path]:
        """Yield inodes that have content and metadata, made when missing, without end."""
        os.close(open_object(self._layout, entry.digest, entry.size))
        found = self._layout.object_path(entry.digest)
        if _has(found, entry.size, metadata):
            yield found
        for number in itertools.count():
            path = self._path(entry, metadata, number)
            if path not in self._made and not _has(path, entry.size, metadata):
                metadata = self._make(entry, metadata, number)
                path = self._path(entry, metadata, number)
            yield self._made[path].staged if path in self._made else path

    def _path(self, entry: FileEntry, metadata: Metadata, number: int) -> Path:
        base = f"{fan_out(entry.digest)}.{metadata_digest(metadata).hex()}"
        return self._layout.variants / (f"{base}.{number}" if number else base)

    def _make(self, entry: FileEntry, metadata: Metadata, number: int) -> Metadata:
        """Stage the variant; return the metadata that it is kept under.

        That is what the file system took: no file stands under the name of what it is not.
        """
        source = open_object(self._layout, entry.digest, entry.size)
        try:
            temporary = self._staging / f"variant-{len(self._made)}"
            target = os.open(temporary, _CREATE, 0o600)
            try:
                copy_content(source, target, entry.size)
                self._applier.apply(target, metadata)
                taken = metadata_of(os.fstat(target), read_xattrs(target)[0])
            finally:
                os.close(target)
        finally:
            os.close(source)
        path = self._path(entry, taken, number)
        if path in self._made or _has(path, entry.size, taken):
            os.unlink(temporary)  # refused the last time too
        else:
            self._made[path] = _Variant(temporary, entry, taken, number)
        return taken

    def _try(self, source: Path, entry: FileEntry, folder: int) -> bool:
        """Link, or return False if the inode has as many links as it can have."""
        if self.max_links is not None and os.stat(source).st_nlink >= self.max_links:
            return False
        try:
            os.link(source, entry.name, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EMLINK:
                return False
            if error.errno in (errno.EXDEV, errno.EPERM):
                raise StoreError(
                    f"Cannot link '{below.shown(entry.name)}': {error.strerror}",
                    hint="Choose a directory on the file system of the store, or use --copy.",
                ) from error
            raise
        return True


def _has(path: Path, size: int, metadata: Metadata) -> bool:
    """Tell whether a file is there with exactly this size and metadata. Whether its content is right is for verify."""
    try:
        info = os.stat(path, follow_symlinks=False)
        xattrs, left_out = read_xattrs(os.fspath(path))
        # What a security module sets is no difference; what overlayfs would act on is.
        if left_out and any(map(is_overlay, os.listxattr(path, follow_symlinks=False))):
            return False
        return info.st_size == size and metadata_of(info, xattrs) == metadata
    except FileNotFoundError:
        return False
