"""Verification: everything is read and compared with its digest, and damage is traced to the refs that use it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from volt_cas import below, record
from volt_cas.browse import bottom_up, check_tree
from volt_cas.layout import Layout, addressed, digest_bytes, digest_text, fan_out
from volt_cas.links import find_difference
from volt_cas.objects import read_directory, read_tree
from volt_cas.record import DirectoryEntry, FileEntry, Node, TreeRecord
from volt_cas.refs import Refs
from volt_core import native
from volt_core.contracts import Progress, Ref, VerifyReport
from volt_core.errors import ObjectCorrupt, StateError, StoreError

_BATCH = 512
_USES_SHOWN = 3


def verify(layout: Layout, refs: Refs, progress: Progress) -> VerifyReport:
    """Read everything on all cores. The caller keeps gc away."""
    named = list(refs.read_all())  # first: what a put adds meanwhile is there before its ref
    run = _Verification(layout, progress)
    run.objects()
    run.variants()
    run.records()
    run.links()
    for ref in named:
        if isinstance(ref, StateError):
            run.damaged_ref(ref)
        else:
            run.uses(ref)
    return run.report()


class _Verification:
    def __init__(self, layout: Layout, progress: Progress) -> None:
        self._layout = layout
        self._progress = progress
        self._sizes: dict[bytes, int] = {}
        self._trees = 0
        self._bytes = 0
        self._bad: dict[bytes, str] = {}
        self._is_hurt: dict[bytes, bool] = {}
        self._bad_trees: dict[bytes, str] = {}
        self._bad_variants: list[str] = []
        # Before objects and variants, so that the inodes of all of these will be known.
        self._linked = [digest for digest, _ in layout.linked()]
        self._inodes: dict[int, bytes] = {}
        self._bad_links: list[str] = []
        self._bad_refs: list[str] = []
        self._users: dict[bytes, list[str]] = {}

    def objects(self) -> None:
        """Hash all objects."""
        found = []
        for name, entry in addressed(self._layout.objects):
            digest = bytes.fromhex(name)
            info = entry.stat(follow_symlinks=False)
            self._inodes[info.st_ino] = digest
            found.append((digest, info.st_size))
        self._sizes = dict(found)
        self._progress.begin("Verifying objects", sum(self._sizes.values()))
        wanted = [(fan_out(digest), digest, size) for digest, size in found]
        for path, digest, why in self._hash("objects", wanted):
            # Removed first: a put takes content of the right size for what it should be.
            self._bad[digest] = f"{why}; remove objects/{path} and put the tree again"

    def variants(self) -> None:
        """Hash all variants: their name begins with the digest of the content."""
        wanted = []
        for name, entry in addressed(self._layout.variants):
            digest = bytes.fromhex(name.partition(".")[0])
            info = entry.stat(follow_symlinks=False)
            self._inodes[info.st_ino] = digest
            wanted.append((f"{name[:2]}/{name[2:]}", digest, info.st_size))
        for path, _, why in self._hash("variants", wanted):
            self._bad_variants.append(f"variant {path}: {why}; remove it and the linked checkouts that use it")

    def records(self) -> None:
        """Hash and decode all tree records."""
        for name, entry in addressed(self._layout.trees):
            self._trees += 1
            digest = bytes.fromhex(name)
            try:
                data = Path(entry.path).read_bytes()
            except OSError as error:
                self._bad_trees[digest] = f"cannot be read: {error.strerror}"
                continue
            if record.address(data) != digest:
                self._bad_trees[digest] = "its content does not match its digest"
                continue
            try:
                record.decode(data, digest)
            except ObjectCorrupt as error:
                self._bad_trees[digest] = error.brief

    def links(self) -> None:
        """Compare the linked checkouts with their trees; what is wrong with a record is told elsewhere."""
        for digest in self._linked:
            with contextlib.suppress(StoreError):
                try:
                    why = find_difference(self._layout, digest, self._inodes)
                except OSError as error:
                    why = f"it cannot be read: {error.strerror}"
                if why:
                    self._bad_links.append(
                        f"linked tree {digest.hex()}: {why}; remove it from links/ when nothing uses it"
                    )

    def damaged_ref(self, error: StateError) -> None:
        """Note a ref that cannot be read."""
        self._bad_refs.append(f"ref: {error.brief}; gc refuses to work until it is set, deleted or removed")

    def uses(self, ref: Ref) -> None:
        """Find what the tree of a ref misses, and which of the damage it uses."""
        digest = digest_bytes(ref.digest)
        try:
            tree = read_tree(self._layout, digest)
            if digest in self._bad_trees:
                self._use(digest, ref, b"")
            for found, record in bottom_up(self._layout, tree.digest, self._is_hurt):
                self._is_hurt[found] = any([self._check(entry) for entry in record.entries])
            self._find_users(ref, tree)
            check_tree(self._layout, tree)
        except StoreError as error:
            self._bad_trees.setdefault(digest, error.brief)
            self._use(digest, ref, b"")

    def _check(self, entry: Node) -> bool:
        """Tell whether the entry, or something below it, is damaged."""
        if isinstance(entry, DirectoryEntry):
            return self._is_hurt[entry.digest]
        if not isinstance(entry, FileEntry) or not entry.size:
            return False
        size = self._sizes.get(entry.digest)
        if size is None:
            self._bad[entry.digest] = "it is missing; put the tree again"
        elif size != entry.size:
            self._bad.setdefault(entry.digest, f"it has {size} bytes instead of {entry.size}")
        return entry.digest in self._bad

    def _find_users(self, ref: Ref, tree: TreeRecord) -> None:
        """Find where the tree uses what is damaged: of what it has at several places, one."""
        pending = [(b"", tree.digest)] if self._is_hurt[tree.digest] else []
        seen = {tree.digest}
        while pending:
            folder, digest = pending.pop()
            for entry in read_directory(self._layout, digest).entries:
                path = below.join(folder, entry.name)
                if isinstance(entry, FileEntry) and entry.digest in self._bad:
                    self._use(entry.digest, ref, path)
                elif isinstance(entry, DirectoryEntry) and self._is_hurt[entry.digest] and entry.digest not in seen:
                    seen.add(entry.digest)
                    pending.append((path, entry.digest))

    def _use(self, digest: bytes, ref: Ref, path: bytes) -> None:
        shown = f"'{below.shown(path)}' in {ref.name}" if path else ref.name
        self._users.setdefault(digest, []).append(shown)

    def _hash(self, folder: str, wanted: list[tuple[str, bytes, int]]) -> list[tuple[str, bytes, str]]:
        """Return path, digest and reason of each file that is not what its name says."""
        bad: list[tuple[str, bytes, str]] = []
        if not wanted:
            return bad
        root = os.open(self._layout.path / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for start in range(0, len(wanted), _BATCH):
                batch = wanted[start : start + _BATCH]
                results = native.hash_files(root, [path.encode() for path, _, _ in batch])
                for (path, digest, size), result in zip(batch, results, strict=True):
                    if isinstance(result, OSError):
                        bad.append((path, digest, f"cannot be read: {result.strerror}"))
                    elif result != digest:
                        bad.append((path, digest, "its content does not match its digest"))
                    self._bytes += size
                    self._progress.advance(size, 1)
        finally:
            os.close(root)
        return bad

    def report(self) -> VerifyReport:
        """Return what was found, one line for each damaged thing."""
        lines = [self._line("object", digest, why) for digest, why in sorted(self._bad.items())]
        lines += [self._line("tree record", digest, why) for digest, why in sorted(self._bad_trees.items())]
        return VerifyReport(
            objects=len(self._sizes),
            bytes=self._bytes,
            trees=self._trees,
            damaged=(*lines, *self._bad_variants, *self._bad_links, *self._bad_refs),
        )

    def _line(self, kind: str, digest: bytes, why: str) -> str:
        users = self._users.get(digest, [])
        shown = ", ".join(users[:_USES_SHOWN]) + (f" and {len(users) - _USES_SHOWN} more" * (len(users) > _USES_SHOWN))
        return f"{kind} {digest_text(digest)}: {why}; " + (f"used by {shown}" if users else "no ref uses it")
