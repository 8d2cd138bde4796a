"""Hard-link groups as the links record of a tree has them."""

from __future__ import annotations

from collections.abc import Hashable


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
