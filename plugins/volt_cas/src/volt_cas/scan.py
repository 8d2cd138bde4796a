"""Which of the two scans serves: the extension's, or the one in Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from volt_cas.layout import Layout
from volt_cas.notes import Notes
from volt_cas.statcache import StatCache
from volt_cas.writer import Writer
from volt_core import native
from volt_core.contracts import MtimePolicy, Progress

Digest = bytes


class DirectoryScan(Protocol):
    """One pass over a source directory.

    Attributes:
        files, bytes: what it held; every name of a hard-linked file counts.
        notes: what was left out.
    """

    files: int
    bytes: int
    notes: Notes

    def run(self, source: Path, *, one_file_system: bool) -> Digest:
        """Stage everything below `source`; return the digest of the top record."""


def new_scan(
    layout: Layout,
    writer: Writer,
    cache: StatCache,
    *,
    exclude: Sequence[str],
    mtime: MtimePolicy,
    adopt: bool,
    progress: Progress,
) -> DirectoryScan:
    """Return a scan. Adopting is done in Python alone: it links instead of writing."""
    extension = native.find_extension()
    if extension is None or adopt:
        from volt_cas.tree import Scan

        return Scan(layout, writer, cache, exclude=exclude, mtime=mtime, adopt=adopt, progress=progress)
    from volt_cas.ingest import NativeScan

    return NativeScan(extension, writer, cache, exclude=exclude, mtime=mtime, progress=progress)
