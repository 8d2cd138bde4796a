"""Linked trees: one linked checkout per tree, kept in the store and shared, read-only, by all its users."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from volt_cas import below
from volt_cas.layout import Layout
from volt_cas.objects import read_directory, read_tree
from volt_cas.record import DirectoryEntry, FifoEntry, FileEntry, Node, SymlinkEntry
from volt_cas.staging import open_staging, sync_store
from volt_core import fs
from volt_core.contracts import SILENT, CheckoutMode

OTHER = "is another one than the tree has"
MISSING = "is missing"
EXTRA = "does not belong there"
_ROOT = "root"
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
_IS_TYPE: dict[type[Node], Callable[[int], bool]] = {
    FileEntry: stat.S_ISREG,
    DirectoryEntry: stat.S_ISDIR,
    SymlinkEntry: stat.S_ISLNK,
    FifoEntry: stat.S_ISFIFO,
}


def linked_tree(layout: Layout, digest: bytes) -> Path:
    """Return the linked checkout of the tree, made if missing. The caller keeps gc away.

    It is made in ``tmp/`` and renamed, so that what has the name is whole. What is renamed is a folder around
    the tree: the root directory of a tree may be one that its owner may not write, hence not move.
    """
    path = layout.link_path(digest)
    if not path.is_dir():
        from volt_cas.checkout import check_out

        layout.prepare()
        with open_staging(layout) as staging:
            fresh = staging / "link"
            fresh.mkdir(mode=0o700)
            check_out(layout, digest, fresh / _ROOT, mode=CheckoutMode.LINK, progress=SILENT)
            sync_store(layout)
            try:
                os.rename(fresh, path)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
        with contextlib.suppress(FileNotFoundError):
            fs.sync_directory(layout.links)
    return path / _ROOT


def find_difference(layout: Layout, digest: bytes, inodes: Mapping[int, bytes]) -> str | None:
    """Return the first thing in which the linked checkout of a tree is not that tree, or None.

    `inodes` has the digest of the content of each inode in the store. Raises as reading the records does.
    """
    root = os.open(layout.link_path(digest) / _ROOT, below.FOLDER)
    try:
        pending = [(b"", read_tree(layout, digest).digest)]
        while pending:
            path, folder = pending.pop()
            try:
                descriptor = below.open_folder(root, path)
            except PermissionError:
                continue  # a directory that its owner may not read
            try:
                names = {os.fsencode(name) for name in os.listdir(descriptor)}
                for entry in read_directory(layout, folder).entries:
                    there = below.join(path, entry.name)
                    if entry.name in names:
                        names.remove(entry.name)
                        if not _is_like(descriptor, entry, inodes):
                            return told(OTHER, there)
                    elif type(entry) in _IS_TYPE:  # devices are left out without root
                        return told(MISSING, there)
                    if isinstance(entry, DirectoryEntry):
                        pending.append((there, entry.digest))
            finally:
                os.close(descriptor)
            if names:
                return told(EXTRA, below.join(path, min(names)))
    finally:
        os.close(root)
    return None


def told(difference: str, path: bytes) -> str:
    """Return for people what is wrong at a path of a linked checkout."""
    return f"'{below.shown(path)}' {difference}"


def _is_like(folder: int, entry: Node, inodes: Mapping[int, bytes]) -> bool:
    info = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
    is_type = _IS_TYPE.get(type(entry))
    if is_type is not None and not is_type(info.st_mode):
        return False
    match entry:
        case FileEntry():
            return inodes.get(info.st_ino) == entry.digest if entry.size else info.st_size == 0
        case SymlinkEntry():
            return os.readlink(entry.name, dir_fd=folder) == entry.target
    return True
