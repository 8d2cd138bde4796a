"""Garbage collection: mark from refs alone, sweep the rest, both while nobody else is in the store."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from pathlib import Path

from volt_cas import below
from volt_cas.choosing import Choice, choose
from volt_cas.layout import Layout, addressed, digest_bytes
from volt_cas.mounts import mounted_links
from volt_cas.refs import Refs
from volt_core import fs
from volt_core.contracts import GcReport
from volt_core.errors import StateError
from volt_core.names import DIGEST_PREFIX, USE_PREFIX

_CACHE_AGE = 30 * 86400.0
_MOUNTS = f"{USE_PREFIX}mount/"
_MOUNTING = 60 * 10**9
"""Nanoseconds that a mount may take, from its ref to the mount table."""


def collect(layout: Layout, refs: Refs, *, dry_run: bool, grace: float, keep_last: int = 0) -> GcReport:
    """Remove what no ref reaches; `grace` in seconds protects what was put or linked a short time ago.

    Of what each ref pointed at before, the newest `keep_last` trees stay too.

    Raises and removes nothing if a ref or a referenced record is damaged: what it reaches is unknown then.
    """
    with layout.exclusive():
        run = _Collection(layout, time.time() - grace)
        run.find_roots(refs)
        run.find_former(refs, keep_last)
        run.choose()
        if not dry_run:
            _clean(layout, refs)
            run.sweep(refs)
        return run.report(dry_run=dry_run)


def _clean(layout: Layout, refs: Refs) -> None:
    """Remove what died with its process, and caches of sources that are long gone."""
    for path in layout.tmp.iterdir():
        fs.remove_tree(path)
    refs.remove_leftovers()
    for path in layout.cache.iterdir():
        if path.stat().st_mtime < time.time() - _CACHE_AGE:
            path.unlink()


class _Collection:
    """One run, inside the exclusive lock."""

    def __init__(self, layout: Layout, limit: float) -> None:
        self._layout = layout
        self._limit = limit
        self._roots: dict[bytes, str] = {}
        self._former: list[bytes] = []
        self._doomed_refs: list[str] = []
        self._doomed_links: list[Path] = []
        self._doomed_objects: list[tuple[Path, int]] = []
        self._removed: list[str] = []
        self._young = 0
        self._choice: Choice

    def find_roots(self, refs: Refs) -> None:
        """Find which trees are named, and by which ref first."""
        mounted = None
        for ref in refs.read_all():
            if isinstance(ref, StateError):
                raise ref
            if ref.name.startswith(_MOUNTS) and time.time_ns() - ref.updated > _MOUNTING:
                mounted = mounted_links() if mounted is None else mounted
                if ref.digest.removeprefix(DIGEST_PREFIX) not in mounted:
                    self._doomed_refs.append(ref.name)
                    self._removed.append(f"ref {ref.name}: its tree is mounted nowhere")
                    continue
            self._roots.setdefault(digest_bytes(ref.digest), ref.name)

    def find_former(self, refs: Refs, count: int) -> None:
        """Find the newest former trees of each ref; of one that is damaged already stays what can be found."""
        for ref in refs.list() if count else ():
            former = dict.fromkeys(change.digest for change in reversed(refs.log(ref.name)) if change.digest)
            former.pop(ref.digest, None)
            self._former += map(digest_bytes, itertools.islice(former, count))

    def choose(self) -> None:
        """Choose what goes, all of it before anything does: to remove a link is to change the file's age and links."""
        self._choose_links()
        has_variants = next(addressed(self._layout.variants), None) is not None
        lost = self._count_doomed() if has_variants else Counter[int]()
        self._choice = choose(self._layout, self._roots, self._former, self._limit, lost)
        for path in sorted(self._layout.quarantine.iterdir()) if self._layout.quarantine.is_dir() else ():
            info = path.lstat()
            if info.st_ctime >= self._limit:
                self._young += 1
            else:
                self._doomed_objects.append((path, info.st_size))

    def sweep(self, refs: Refs) -> None:
        """Remove users before what they use, so that an interrupted run leaves no tree with holes."""
        for name in self._doomed_refs:
            refs.delete(name)
        for path in self._doomed_links:
            # Renamed first: an interrupted removal must not leave a part of a tree under its name.
            doomed = self._layout.tmp / f"doomed-{path.name}"
            os.rename(path, doomed)
            fs.remove_tree(doomed)
        self._choice.remove()
        for path, _ in self._doomed_objects:
            path.unlink()

    def report(self, *, dry_run: bool) -> GcReport:
        """Return what was chosen."""
        choice = self._choice
        return GcReport(
            dry_run=dry_run,
            objects=choice.objects + len(self._doomed_objects),
            trees=choice.trees,
            variants=choice.variants,
            bytes=choice.byte_count + sum(size for _, size in self._doomed_objects),
            kept_young=self._young + choice.young,
            removed=(
                *self._removed,
                *choice.lines(),
                *(
                    f"object quarantine/{path.name} ({size} bytes): it is damaged"
                    for path, size in self._doomed_objects
                ),
            ),
        )

    def _choose_links(self) -> None:
        unnamed = [path for digest, path in self._layout.linked() if digest not in self._roots]
        mounted = mounted_links() if unnamed else ""
        for path in unnamed:
            if path.name in mounted:
                continue
            if path.stat().st_ctime >= self._limit:
                self._young += 1
                continue
            self._removed.append(f"link {path.name}: no ref uses it and it is not mounted")
            self._doomed_links.append(path)

    def _count_doomed(self) -> Counter[int]:
        """Count the names that each inode will lose with linked checkouts and with what dead processes left."""
        found: Counter[int] = Counter()
        left = self._layout.tmp.iterdir() if self._layout.tmp.is_dir() else ()
        for top in (*self._doomed_links, *left):
            # What its owner may not read stays uncounted: a variant of it goes with a later run.
            found.update(below.file_inodes(top))
        return found
