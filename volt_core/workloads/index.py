"""The workload index, ``workload-state.json``: a summary for shell completion and for other programs.

It decides nothing. It is written anew from the folders after each create and delete, and whoever needs
the truth reads the folders. So it is not made durable: after a power failure it may lag behind, or be damaged, until
the next create or delete.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from volt_core import fs
from volt_core.models.workload import Kind, Workload
from volt_core.paths import VoltPaths
from volt_core.state import StateFile
from volt_core.workloads.folders import Folders


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One workload, as others may know it."""

    name: str
    id: str
    kind: Kind
    backend: str
    created: int


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    schema: int = 1
    workloads: tuple[IndexEntry, ...] = ()


_FILE = StateFile(Index)


def rebuild(paths: VoltPaths, folders: Folders) -> Index:
    """Write the index from the folders and return it."""
    with fs.lock(paths.locks / "index", what="the workload index"):
        fs.remove_unfinished(paths.index)
        index = Index(workloads=tuple(_entries(folders.read_all())))
        fs.write_atomic(paths.index, _FILE.encode(index), mode=0o600, durable=False)
    return index


def _entries(found: Iterable[object]) -> Iterable[IndexEntry]:
    for workload in found:
        if isinstance(workload, Workload):
            yield IndexEntry(
                name=workload.name,
                id=workload.id,
                kind=workload.kind,
                backend=workload.backend,
                created=workload.created,
            )
