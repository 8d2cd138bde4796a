"""Looking into stored trees: listing, and reading single files."""

from __future__ import annotations

import io
import os
from collections.abc import Container, Iterator, Mapping
from typing import BinaryIO

from volt_cas import below
from volt_cas.hardlinks import check_groups
from volt_cas.layout import Layout, digest_text
from volt_cas.objects import open_object, read_directory, read_groups, read_tree
from volt_cas.record import (
    MAX_DEPTH,
    BlockEntry,
    CharacterEntry,
    DirectoryEntry,
    DirectoryRecord,
    FifoEntry,
    FileEntry,
    Metadata,
    Node,
    SymlinkEntry,
    TreeRecord,
)
from volt_core.contracts import Entry, EntryType
from volt_core.errors import NotFoundError, ObjectCorrupt

_MAX_SYMLINKS = 40
_TYPES: dict[type[Node], EntryType] = {
    FileEntry: EntryType.FILE,
    DirectoryEntry: EntryType.DIRECTORY,
    SymlinkEntry: EntryType.SYMLINK,
    CharacterEntry: EntryType.CHARACTER,
    BlockEntry: EntryType.BLOCK,
    FifoEntry: EntryType.FIFO,
}


def walk_nodes(layout: Layout, digest: bytes) -> Iterator[tuple[bytes, Node]]:
    """Yield all below the directory record `digest` with paths, parents first, names in byte order."""
    stack = [(b"", iter(read_directory(layout, digest).entries))]
    while stack:
        prefix, entries = stack[-1]
        node = next(entries, None)
        if node is None:
            stack.pop()
            continue
        path = below.join(prefix, node.name)
        yield path, node
        if isinstance(node, DirectoryEntry):
            stack.append((path, iter(read_directory(layout, node.digest, len(stack)).entries)))


def bottom_up(layout: Layout, digest: bytes, known: Container[bytes]) -> Iterator[tuple[bytes, DirectoryRecord]]:
    """Yield each directory record at and below `digest` once, with its digest, children before parents.

    The caller adds each to `known`, and what is in there is passed over: a few records that name each other
    twice are a tree without end, but soon counted.
    """
    stack: list[tuple[bytes, DirectoryRecord, Iterator[bytes]]] = []
    entering: bytes | None = None if digest in known else digest
    while entering is not None or stack:
        if entering is not None:
            record = read_directory(layout, entering, len(stack))
            below_it = (entry.digest for entry in record.entries if isinstance(entry, DirectoryEntry))
            stack.append((entering, record, below_it))
        found, record, children = stack[-1]
        entering = next((child for child in children if child not in known), None)
        if entering is None:
            stack.pop()
            yield found, record


def check_tree(layout: Layout, tree: TreeRecord) -> None:
    """Check what no record can tell alone: the depth, and that hard-link groups are of equal entries of the tree.

    Raises :class:`ObjectCorrupt`, and :class:`ObjectMissing` if a record is not there.
    """
    levels: dict[bytes, int] = {}
    for digest, record in bottom_up(layout, tree.digest, levels):
        children = (levels[entry.digest] for entry in record.entries if isinstance(entry, DirectoryEntry))
        levels[digest] = 1 + max(children, default=0)
        if levels[digest] > MAX_DEPTH:
            raise ObjectCorrupt(f"Tree record {digest_text(digest)} has more than {MAX_DEPTH} levels below it")
    check_groups(layout, tree)


def list_entries(layout: Layout, digest: bytes, path: bytes, *, recursive: bool) -> Iterator[Entry]:
    """See :meth:`volt_core.contracts.Store.entries`."""
    tree = read_tree(layout, digest)
    groups = read_groups(layout, tree)
    path = path.strip(b"/")
    if path:
        node = find_node(layout, tree.digest, path)
        yield entry_of(path, node, groups)
        if not isinstance(node, DirectoryEntry):
            return
        below_digest = node.digest
    else:
        yield _root_entry(tree.metadata, tree.digest)
        below_digest = tree.digest
    if recursive:
        for found, node in walk_nodes(layout, below_digest):
            full = below.join(path, found)
            yield entry_of(full, node, groups)
    else:
        for node in read_directory(layout, below_digest).entries:
            yield entry_of(below.join(path, node.name), node, groups)


def read_file(layout: Layout, digest: bytes, path: bytes) -> bytes:
    """Return the content of a file; symlinks are followed as if the tree were the whole world."""
    with open_file(layout, digest, path) as file:
        return file.read()


def open_file(layout: Layout, digest: bytes, path: bytes) -> BinaryIO:
    """Return a stream of the content of a file, found as :func:`read_file` does; the caller closes it."""
    node = _find_file(layout, digest, path)
    if not node.size:
        return io.BytesIO()
    return open(open_object(layout, node.digest, node.size), "rb")


def _find_file(layout: Layout, digest: bytes, path: bytes) -> FileEntry:
    root = read_directory(layout, read_tree(layout, digest).digest)
    pending = _parts(path)
    folders: list[DirectoryRecord] = [root]
    followed = 0
    while pending:
        part = pending.pop(0)
        if part == b"..":
            folders = folders[:-1] or folders
            continue
        node = _child(folders[-1], part)
        match node:
            case DirectoryEntry():
                folders.append(read_directory(layout, node.digest))
            case SymlinkEntry():
                followed += 1
                if followed > _MAX_SYMLINKS:
                    raise NotFoundError(f"Too many symlinks at {_shown(path)}")
                if node.target.startswith(b"/"):
                    folders = folders[:1]
                pending = _parts(node.target) + pending
            case FileEntry() if not pending:
                return node
            case _:
                raise _no_such(path)
    raise NotFoundError(f"{_shown(path)} is a directory")


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def find_node(layout: Layout, digest: bytes, path: bytes) -> Node:
    """Return the entry at `path` below the directory record `digest`. Raises :class:`NotFoundError`."""
    *folders, last = path.split(b"/")
    for name in folders:
        node = _child(read_directory(layout, digest), name)
        if not isinstance(node, DirectoryEntry):
            raise _no_such(path)
        digest = node.digest
    found = _child(read_directory(layout, digest), last)
    if found is None:
        raise _no_such(path)
    return found


def _child(record: DirectoryRecord, name: bytes) -> Node | None:
    return next((node for node in record.entries if node.name == name), None)


def entry_of(path: bytes, node: Node, groups: Mapping[bytes, int]) -> Entry:
    """Return an entry of a record as the contract has it; `groups` are the tree's hard-link groups."""
    metadata = node.metadata
    return Entry(
        path=path,
        type=_TYPES[type(node)],
        mode=metadata.mode,
        uid=metadata.uid,
        gid=metadata.gid,
        mtime_ns=metadata.mtime_ns,
        size=node.size if isinstance(node, FileEntry) else 0,
        digest=digest_text(node.digest) if isinstance(node, (FileEntry, DirectoryEntry)) else "",
        target=node.target if isinstance(node, SymlinkEntry) else b"",
        device=(node.major, node.minor) if isinstance(node, (CharacterEntry, BlockEntry)) else None,
        xattrs={os.fsdecode(name): value for name, value in metadata.xattrs},
        hardlink_group=groups.get(path, 0),
    )


def _root_entry(metadata: Metadata, digest: bytes) -> Entry:
    return entry_of(b"", DirectoryEntry(b"", metadata, digest), {})


def _no_such(path: bytes) -> NotFoundError:
    return NotFoundError(f"The tree has no {_shown(path)}", hint="'volt cas ls REF' lists what it has.")


def _shown(path: bytes) -> str:
    return f"'{below.shown(path)}'"
