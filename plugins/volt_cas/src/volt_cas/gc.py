"""Garbage collection: mark from refs alone, sweep the rest, both while nobody else is in the store."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from volt_cas import below
from volt_cas.layout import Layout, addressed, digest_bytes, digest_text
from volt_cas.objects import read_record
from volt_cas.record import DirectoryEntry, DirectoryRecord, FileEntry, TreeRecord
from volt_cas.refs import Refs
from volt_core import fs, native
from volt_core.contracts import GcReport
from volt_core.errors import ObjectCorrupt, ObjectMissing, StateError, StoreError
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
        run.mark(refs)
        run.mark_former(refs, keep_last)
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
        self._trees: set[bytes] = set()
        self._objects: set[bytes] = set()
        self._roots: set[bytes] = set()
        self._doomed_refs: list[str] = []
        self._doomed_links: list[Path] = []
        self._doomed_files: list[str] = []
        self._removed: list[str] = []
        self._counts = {"tree": 0, "object": 0, "variant": 0}
        self._bytes = 0
        self._young = 0

    def mark(self, refs: Refs) -> None:
        """Find what refs reach, and what trees reach that are young, for they may be about to get a ref."""
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
            digest = digest_bytes(ref.digest)
            self._roots.add(digest)
            try:
                self._mark_tree(digest)
            except (ObjectMissing, ObjectCorrupt) as error:
                raise StoreError(
                    f"Cannot collect garbage: ref '{ref.name}' reaches a damaged record: {error.brief}",
                    hint="Put that tree again or delete the ref; 'volt cas verify' shows all damage.",
                ) from error
        for name, entry in addressed(self._layout.trees):
            digest = bytes.fromhex(name)
            if digest not in self._trees and entry.stat(follow_symlinks=False).st_mtime >= self._limit:
                # Damaged or half swept: nothing to protect.
                with contextlib.suppress(ObjectMissing, ObjectCorrupt):
                    if isinstance(read_record(self._layout, digest), TreeRecord):
                        self._mark_tree(digest)
                        self._young += 1

    def mark_former(self, refs: Refs, count: int) -> None:
        """Find what the newest former trees of each ref reach; of one that is damaged already, what can be found."""
        for ref in refs.list() if count else ():
            former = dict.fromkeys(change.digest for change in reversed(refs.log(ref.name)) if change.digest)
            former.pop(ref.digest, None)
            for digest in itertools.islice(former, count):
                with contextlib.suppress(ObjectMissing, ObjectCorrupt):
                    self._mark_tree(digest_bytes(digest))

    def _mark_tree(self, digest: bytes) -> None:
        pending = [digest]
        while pending:
            digest = pending.pop()
            if digest in self._trees:
                continue
            record = read_record(self._layout, digest)
            self._trees.add(digest)
            if isinstance(record, DirectoryRecord):
                for entry in record.entries:
                    if isinstance(entry, FileEntry):
                        self._objects.add(entry.digest)
                    elif isinstance(entry, DirectoryEntry):
                        pending.append(entry.digest)
            elif isinstance(record, TreeRecord):
                pending.append(record.digest)
                if record.links is not None:
                    pending.append(record.links)

    def choose(self) -> None:
        """Choose what goes, all of it before anything does: to remove a link is to change the file's age and links."""
        self._choose_links()
        doomed = self._count_doomed()
        tops: list[tuple[str, os.DirEntry[str]]] = []
        directories: list[tuple[str, os.DirEntry[str]]] = []
        for name, entry in addressed(self._layout.trees):
            if bytes.fromhex(name) not in self._trees:
                is_top = Path(entry.path).read_bytes()[1:6] == b"\xa4tree"
                (tops if is_top else directories).append((name, entry))
        for name, entry in (*tops, *directories):
            info = entry.stat(follow_symlinks=False)
            self._doom("tree", digest_text(bytes.fromhex(name)), entry.path, info, info.st_mtime, "no ref reaches it")
        for name, entry in addressed(self._layout.variants):
            info = entry.stat(follow_symlinks=False)
            if info.st_nlink - doomed[info.st_ino] <= 1:
                self._doom("variant", name, entry.path, info, info.st_ctime, "no checkout links to it")
        for name, entry in addressed(self._layout.objects):
            digest = bytes.fromhex(name)
            if digest not in self._objects:
                info = entry.stat(follow_symlinks=False)
                self._doom("object", digest_text(digest), entry.path, info, info.st_ctime, "no ref reaches it")

        if self._layout.quarantine.is_dir():
            for entry in os.scandir(self._layout.quarantine):
                info = entry.stat(follow_symlinks=False)
                self._doom("object", f"quarantine/{entry.name}", entry.path, info, info.st_ctime, "it is damaged")

    def sweep(self, refs: Refs) -> None:
        """Remove users before what they use, so that an interrupted run leaves no tree with holes."""
        for name in self._doomed_refs:
            refs.delete(name)
        for path in self._doomed_links:
            # Renamed first: an interrupted removal must not leave a part of a tree under its name.
            doomed = self._layout.tmp / f"doomed-{path.name}"
            os.rename(path, doomed)
            fs.remove_tree(doomed)
        for name in self._doomed_files:
            os.unlink(name)

    def report(self, *, dry_run: bool) -> GcReport:
        """Return what was chosen."""
        return GcReport(
            dry_run=dry_run,
            objects=self._counts["object"],
            trees=self._counts["tree"],
            variants=self._counts["variant"],
            bytes=self._bytes,
            kept_young=self._young,
            removed=tuple(self._removed),
        )

    def _doom(self, kind: str, name: str, path: str, info: os.stat_result, born: float, why: str) -> None:
        if born >= self._limit:
            self._young += 1
            return
        self._counts[kind] += 1
        self._bytes += info.st_size
        self._removed.append(f"{kind} {name} ({info.st_size} bytes): {why}")
        self._doomed_files.append(path)

    def _choose_links(self) -> None:
        mounted = mounted_links()
        for digest, path in self._layout.linked():
            if digest in self._roots or path.name in mounted:
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
            with contextlib.suppress(NotADirectoryError, PermissionError):
                descriptor = os.open(top, below.FOLDER)
                try:
                    found.update(entry.ino for entry in native.walk(descriptor) if stat.S_ISREG(entry.mode))
                finally:
                    os.close(descriptor)
        return found


def mounted_links() -> str:
    """Return the mount tables of all mount namespaces that this process may look into, as one text.

    The digest of a linked tree in it means that the tree is mounted: as a bind, or as a layer of an overlay.
    """
    return "\n".join(_mount_tables())


def _mount_tables() -> Iterator[str]:
    seen = set()
    for process in ("self", *(name for name in os.listdir("/proc") if name.isdigit())):
        try:
            namespace = os.readlink(f"/proc/{process}/ns/mnt")
            if namespace not in seen:
                seen.add(namespace)
                yield Path(f"/proc/{process}/mountinfo").read_text(errors="replace")
        except OSError:  # it has ended, or it is another user's
            if process == "self":
                raise
