"""Scanning a directory into tree records by the extension; :mod:`volt_cas.tree` does the same in Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from volt_cas.errors import source_changed, tree_too_deep
from volt_cas.exclude import Matcher
from volt_cas.hardlinks import HardLinks
from volt_cas.metadata import XATTRS_UNREADABLE, Applier, why_left_out
from volt_cas.mounts import mount_points_below
from volt_cas.notes import Notes
from volt_cas.record import decode_metadata
from volt_cas.source import MOUNTED, SOCKET, STORE, WHITEOUT, open_source
from volt_cas.statcache import StatCache
from volt_cas.writer import Writer
from volt_core.contracts import MtimePolicy, Progress
from volt_core.native.extension import CImplementation
from volt_core.native.ingest import ChangedError, Ingested, Request, TooDeepError, ingest

_NOTES = {
    "store": STORE,
    "mounted": MOUNTED,
    "socket": SOCKET,
    "whiteout": WHITEOUT,
    "xattrs_overlay": why_left_out("user.overlay."),
    "xattrs_security": why_left_out("security."),
    "xattrs_system": why_left_out("system."),
    "xattrs_trusted": why_left_out("trusted."),
    "xattrs_unknown": why_left_out(""),
    "xattrs_unreadable": XATTRS_UNREADABLE,
}


class NativeScan:
    """One pass over a source directory; like :class:`volt_cas.tree.Scan`."""

    def __init__(
        self,
        native: CImplementation,
        writer: Writer,
        cache: StatCache,
        *,
        exclude: Sequence[str],
        mtime: MtimePolicy,
        progress: Progress,
    ) -> None:
        self._native = native
        self._writer = writer
        self._cache = cache
        self._globs = Matcher(exclude).globs()
        self._clamp = mtime is MtimePolicy.CLAMP
        self._progress = progress
        self.files = 0
        self.bytes = 0
        self.notes = Notes()

    def run(self, source: Path, *, one_file_system: bool) -> bytes:
        """Stage everything below `source`; return the digest of the top record."""
        with open_source(source) as root, self._cache.reading() as old, self._cache.replacing() as new:
            request = Request(
                root_fd=root,
                store_fd=self._writer.store_fd,
                staging_fd=self._writer.staging_fd,
                cache_fd=-1 if old is None else old,
                new_cache_fd=-1 if new is None else new,
                racy_ns=self._cache.racy_ns,
                one_file_system=one_file_system,
                clamp=self._clamp,
                owner=Applier().owner,
                globs=self._globs,
                mounts=tuple(mount_points_below(root)) if one_file_system else (),
            )
            found = self._ingest(request)
        self.files, self.bytes = found.files, found.content_bytes
        self._writer.count(found.new_objects, found.new_bytes)
        for what, (count, first) in found.notes.items():
            self.notes.add(_NOTES[what] or what, first, count=count)
        links = HardLinks()
        for inode, path in found.links:
            links.add(inode, path)
        return self._writer.add_tree(decode_metadata(found.metadata), found.digest, links.groups())

    def _ingest(self, request: Request) -> Ingested:
        try:
            return ingest(self._native, request, self._progress.advance)
        except ChangedError as error:
            raise source_changed(os.fsencode(error.filename)) from error
        except TooDeepError as error:
            raise tree_too_deep(os.fsencode(error.filename)) from error
