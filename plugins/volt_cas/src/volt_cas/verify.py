"""Verification: everything is read and compared with its digest, and damage is traced to the refs that use it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence

from volt_cas import below
from volt_cas.browse import bottom_up, check_tree
from volt_cas.hardlinks import check_groups
from volt_cas.layout import Layout, digest_bytes, digest_text
from volt_cas.objects import read_directory, read_tree
from volt_cas.reading import Reading, find_differences, read_store
from volt_cas.record import DirectoryEntry, FileEntry, Node, TreeRecord
from volt_cas.refs import Refs
from volt_core.contracts import ContentSource, Progress, Ref, VerifyReport
from volt_core.errors import StateError, StoreError

_USES_SHOWN = 3


def verify(
    layout: Layout, refs: Refs, progress: Progress, *, repair: bool = False, sources: Sequence[ContentSource] = ()
) -> VerifyReport:
    """Read everything on all cores, gc kept away; with `repair` put good copies in the place of what is damaged."""
    with layout.shared():
        named = list(refs.read_all())  # first: what a put adds meanwhile is there before its ref
        run = Verification(layout, progress)
        run.read_all()
        if repair:
            from volt_cas.repair import Repair
            from volt_cas.writer import open_writer

            with open_writer(layout) as writer:
                Repair(layout, run, writer, sources, progress).run(named)
        run.links(after_repair=repair)
        for ref in named:
            if isinstance(ref, StateError):
                run.damaged_ref(ref)
            else:
                run.uses(ref)
    if repair and run.bad_links:
        from volt_cas.repair import make_links_anew

        make_links_anew(layout, refs, run)
    report = run.report()
    if report.damaged or report.repaired:
        forget(layout)
    return report


class Verification:
    """What one run has found; a repair takes out of it what it has put right.

    Attributes:
        bad, bad_trees, bad_links: why an object, a record, or the linked checkout of a tree is damaged.
        bad_variants: the same by path below ``variants/``.
        advice: what to do about an object, where it is not the usual.
        repaired: lines for the report.
    """

    def __init__(self, layout: Layout, progress: Progress) -> None:
        self._layout = layout
        # Before objects and variants, so that the inodes of all of these will be known.
        self._linked = [digest for digest, _ in layout.linked()]
        self._progress = progress
        self._reading: Reading
        self.bad_links: dict[bytes, str] = {}
        self._is_hurt: dict[bytes, bool] = {}
        self._sound: set[bytes] = set()
        self._bad_refs: list[str] = []
        self._users: dict[bytes, list[str]] = {}
        self.advice: dict[bytes, str] = {}
        self.repaired: list[str] = []

    def read_all(self) -> None:
        """Read objects, variants and records."""
        self._reading = read_store(self._layout, self._progress)
        self.bad = self._reading.bad
        self.bad_trees = self._reading.bad_trees
        self.bad_variants = self._reading.bad_variants

    @functools.cached_property
    def sizes(self) -> dict[bytes, int]:
        """Of the stored objects."""
        return self._reading.sizes()

    @functools.cached_property
    def inodes(self) -> dict[int, bytes]:
        """The digest of the content of each inode in the store."""
        return self._reading.inodes()

    def links(self, *, after_repair: bool) -> None:
        """Compare the linked checkouts with their trees; what is wrong with a record is told elsewhere."""
        if after_repair:
            self.bad_links = find_differences(self._layout, self._linked, self.inodes)
        else:
            self.bad_links = self._reading.find_differences(self._linked)

    def damaged_ref(self, error: StateError) -> None:
        """Note a ref that cannot be read."""
        self._bad_refs.append(f"ref: {error.brief}; gc refuses to work until it is set, deleted or removed")

    def uses(self, ref: Ref) -> None:
        """Find what the tree of a ref misses, and which of the damage it uses."""
        digest = digest_bytes(ref.digest)
        if digest in self._sound:
            return
        try:
            tree = read_tree(self._layout, digest)
            if self._reading.is_whole and not self.bad:
                check_groups(self._layout, tree)
                self._sound.add(digest)
                return
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

    def report(self) -> VerifyReport:
        """Return what was found, one line for each damaged thing."""
        lines = [
            self._line("object", digest, f"{why}; {self.advice.get(digest) or self._usual(digest)}")
            for digest, why in sorted(self.bad.items())
        ]
        lines += [self._line("tree record", digest, why) for digest, why in sorted(self.bad_trees.items())]
        lines += [f"variant {path}: {why}" for path, why in sorted(self.bad_variants.items())]
        lines += [f"linked tree {digest.hex()}: {why}" for digest, why in self.bad_links.items()]
        return VerifyReport(
            # A repair, which asks for the sizes, changes how many there are.
            objects=len(self.sizes) if "sizes" in vars(self) else self._reading.objects,
            bytes=self._reading.byte_count,
            trees=self._reading.trees,
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
