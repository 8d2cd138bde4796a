"""Verification: everything is read and compared with its digest, and damage is traced to the refs that use it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from volt_cas import below, record
from volt_cas.browse import bottom_up, check_tree
from volt_cas.layout import Layout, addressed, digest_bytes, digest_text
from volt_cas.links import find_difference
from volt_cas.objects import read_directory, read_tree
from volt_cas.record import DirectoryEntry, FileEntry, Node, TreeRecord
from volt_cas.refs import Refs
from volt_cas.writer import open_writer
from volt_core import native
from volt_core.contracts import ContentSource, Progress, Ref, VerifyReport
from volt_core.errors import ObjectCorrupt, StateError, StoreError

_BATCH = 512
_USES_SHOWN = 3


def verify(
    layout: Layout, refs: Refs, progress: Progress, *, repair: bool = False, sources: Sequence[ContentSource] = ()
) -> VerifyReport:
    """Read everything on all cores, gc kept away; with `repair` put good copies in the place of what is damaged."""
    from volt_cas.repair import Repair, make_links_anew

    with layout.shared():
        named = list(refs.read_all())  # first: what a put adds meanwhile is there before its ref
        run = Verification(layout, progress)
        run.read_all()
        if repair:
            with open_writer(layout) as writer:
                Repair(layout, run, writer, sources, progress).run(named)
        run.links()
        for ref in named:
            if isinstance(ref, StateError):
                run.damaged_ref(ref)
            else:
                run.uses(ref)
    if repair and run.bad_links:
        make_links_anew(layout, refs, run)
    report = run.report()
    if report.damaged or report.repaired:
        forget(layout)
    return report


class Verification:
    """What one run has found; a repair takes out of it what it has put right.

    Attributes:
        sizes: of the stored objects.
        bad, bad_trees, bad_links: why an object, a record, or the linked checkout of a tree is damaged.
        bad_variants: the same by path below ``variants/``.
        inodes: the digest of the content of each inode in the store.
        advice: what to do about an object, where it is not the usual.
        repaired: lines for the report.
    """

    def __init__(self, layout: Layout, progress: Progress) -> None:
        self._layout = layout
        self._progress = progress
        self.sizes: dict[bytes, int] = {}
        self._trees = 0
        self._bytes = 0
        self.bad: dict[bytes, str] = {}
        self._is_hurt: dict[bytes, bool] = {}
        self.bad_trees: dict[bytes, str] = {}
        self.bad_variants: dict[str, str] = {}
        # Before objects and variants, so that the inodes of all of these will be known.
        self._linked = [digest for digest, _ in layout.linked()]
        self.inodes: dict[int, bytes] = {}
        self.bad_links: dict[bytes, str] = {}
        self._bad_refs: list[str] = []
        self._users: dict[bytes, list[str]] = {}
        self.advice: dict[bytes, str] = {}
        self.repaired: list[str] = []

    def read_all(self) -> None:
        """Hash all objects and variants, whose names begin with the digest of the content; then the records."""
        objects = list(self._find(self._layout.objects))
        variants = list(self._find(self._layout.variants))
        self.sizes = {digest: size for _, digest, size in objects}
        self._progress.begin("Verifying", sum(size for _, _, size in (*objects, *variants)))
        for _, digest, why in self._hash("objects", objects):
            self.bad[digest] = why
        for path, _, why in self._hash("variants", variants):
            self.bad_variants[path] = why
        self._records()

    def _find(self, folder: Path) -> Iterator[tuple[str, bytes, int]]:
        """Yield path, digest and size of the files, and remember their inodes."""
        for name, entry in addressed(folder):
            digest = bytes.fromhex(name.partition(".")[0])
            info = entry.stat(follow_symlinks=False)
            self.inodes[info.st_ino] = digest
            yield f"{name[:2]}/{name[2:]}", digest, info.st_size

    def _records(self) -> None:
        for name, entry in addressed(self._layout.trees):
            self._trees += 1
            digest = bytes.fromhex(name)
            try:
                data = Path(entry.path).read_bytes()
            except OSError as error:
                self.bad_trees[digest] = f"cannot be read: {error.strerror}"
                continue
            if record.address(data) != digest:
                self.bad_trees[digest] = "its content does not match its digest"
                continue
            try:
                record.decode(data, digest)
            except ObjectCorrupt as error:
                self.bad_trees[digest] = error.brief

    def links(self) -> None:
        """Compare the linked checkouts with their trees; what is wrong with a record is told elsewhere."""
        for digest in self._linked:
            with contextlib.suppress(StoreError):
                try:
                    why = find_difference(self._layout, digest, self.inodes)
                except OSError as error:
                    why = f"it cannot be read: {error.strerror}"
                if why:
                    self.bad_links[digest] = why

    def damaged_ref(self, error: StateError) -> None:
        """Note a ref that cannot be read."""
        self._bad_refs.append(f"ref: {error.brief}; gc refuses to work until it is set, deleted or removed")

    def uses(self, ref: Ref) -> None:
        """Find what the tree of a ref misses, and which of the damage it uses."""
        digest = digest_bytes(ref.digest)
        try:
            tree = read_tree(self._layout, digest)
            if digest in self.bad_trees:
                self._use(digest, ref, b"")
            for found, record in bottom_up(self._layout, tree.digest, self._is_hurt):
                self._is_hurt[found] = any([self._check(entry) for entry in record.entries])
            self._find_users(ref, tree)
            check_tree(self._layout, tree)
        except StoreError as error:
            self.bad_trees.setdefault(digest, error.brief)
            self._use(digest, ref, b"")

    def _check(self, entry: Node) -> bool:
        """Tell whether the entry, or something below it, is damaged."""
        if isinstance(entry, DirectoryEntry):
            return self._is_hurt[entry.digest]
        if not isinstance(entry, FileEntry) or not entry.size:
            return False
        size = self.sizes.get(entry.digest)
        if size is None:
            self.bad.setdefault(entry.digest, "it is missing")
        elif size != entry.size:
            self.bad.setdefault(entry.digest, f"it has {size} bytes instead of {entry.size}")
        return entry.digest in self.bad

    def _find_users(self, ref: Ref, tree: TreeRecord) -> None:
        """Find where the tree uses what is damaged: of what it has at several places, one."""
        pending = [(b"", tree.digest)] if self._is_hurt[tree.digest] else []
        seen = {tree.digest}
        while pending:
            folder, digest = pending.pop()
            for entry in read_directory(self._layout, digest).entries:
                path = below.join(folder, entry.name)
                if isinstance(entry, FileEntry) and entry.digest in self.bad:
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
        lines = [
            self._line("object", digest, f"{why}; {self.advice.get(digest) or self._usual(digest)}")
            for digest, why in sorted(self.bad.items())
        ]
        lines += [self._line("tree record", digest, why) for digest, why in sorted(self.bad_trees.items())]
        lines += [f"variant {path}: {why}" for path, why in self.bad_variants.items()]
        lines += [f"linked tree {digest.hex()}: {why}" for digest, why in self.bad_links.items()]
        return VerifyReport(
            objects=len(self.sizes),
            bytes=self._bytes,
            trees=self._trees,
            damaged=(*lines, *self._bad_refs),
            repaired=tuple(self.repaired),
        )

    def _usual(self, digest: bytes) -> str:
        # A put takes content of the right size for what it should be; a repair moves it away.
        return ("repair the store, then " if digest in self.sizes else "") + "put the tree again"

    def _line(self, kind: str, digest: bytes, why: str) -> str:
        users = self._users.get(digest, [])
        shown = ", ".join(users[:_USES_SHOWN]) + (f" and {len(users) - _USES_SHOWN} more" * (len(users) > _USES_SHOWN))
        return f"{kind} {digest_text(digest)}: {why}; " + (f"used by {shown}" if users else "no ref uses it")


def forget(layout: Layout) -> None:
    """Drop what puts remember of their sources: they take an object of the right size for what it should be."""
    for path in layout.cache.glob("*.stat"):
        with contextlib.suppress(OSError):  # a store that only others may write to
            path.unlink()
