"""Hard-link groups as the links record of a tree has them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Hashable

import msgspec

from volt_cas import below
from volt_cas.layout import Layout, digest_text
from volt_cas.objects import read_directory, read_groups
from volt_cas.record import DirectoryEntry, DirectoryRecord, Node, TreeRecord
from volt_core.errors import ObjectCorrupt

_RECORDS_HELD = 32  # of directories, while groups are looked up


class HardLinks:
    """Collects which paths are one inode."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, list[bytes]] = {}

    def add(self, inode: Hashable, path: bytes) -> None:
        """Add a name of the inode that `inode`, or anything equal to it, stands for."""
        self._groups.setdefault(inode, []).append(path)

    def groups(self) -> tuple[tuple[bytes, ...], ...]:
        """Return the groups of two or more, each sorted, sorted."""
        return tuple(sorted(tuple(sorted(paths)) for paths in self._groups.values() if len(paths) > 1))


def check_groups(layout: Layout, tree: TreeRecord) -> None:
    """Check that the hard-link groups of a tree are of entries that it has, equal but for their names.

    The tree may come from elsewhere. Groups are looked up in the order of the directories, so that each of these is
    read once, and not once for each path. Raises :class:`ObjectCorrupt`.
    """
    groups = read_groups(layout, tree)
    read = functools.lru_cache(_RECORDS_HELD)(lambda digest: _by_name(read_directory(layout, digest)))
    names: list[bytes] = []
    folders = [read(tree.digest)] if groups else []
    first: dict[int, Node] = {}
    for path in sorted(groups, key=lambda path: path.split(b"/")):
        *above, last = path.split(b"/")
        known = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(names, above, strict=False)))
        del names[known:], folders[known + 1 :]
        for name in above[known:]:
            node = folders[-1].get(name)
            if not isinstance(node, DirectoryEntry):
                raise _bad_group(tree, path, "names what the tree lacks")
            names.append(name)
            folders.append(read(node.digest))
        node = folders[-1].get(last)
        if node is None:
            raise _bad_group(tree, path, "names what the tree lacks")
        if not _is_same_inode(first.setdefault(groups[path], node), node):
            raise _bad_group(tree, path, "has unequal members")


def _by_name(directory: DirectoryRecord) -> dict[bytes, Node]:
    return {entry.name: entry for entry in directory.entries}


def _is_same_inode(first: Node, node: Node) -> bool:
    return not isinstance(node, DirectoryEntry) and msgspec.structs.replace(first, name=node.name) == node


def _bad_group(tree: TreeRecord, path: bytes, why: str) -> ObjectCorrupt:
    links = digest_text(tree.links or b"")
    return ObjectCorrupt(f"Tree record {links} is damaged: the hard-link group of '{below.shown(path)}' {why}")
