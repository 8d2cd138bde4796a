"""Refs of the store in directories: one file, written whole."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from volt_core import fs
from volt_core.contracts import Ref, RefChange
from volt_core.errors import RefNotFound
from volt_core.names import shown
from volt_core.testing.whole_trees import is_changed


class _Named(msgspec.Struct, frozen=True):
    """A name: its value, None once it was deleted, and its log."""

    ref: Ref | None = None
    log: tuple[RefChange, ...] = ()


class RefsFile:
    """The refs in one file. Whoever changes them holds the store's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, name: str) -> Ref | None:
        """Return the ref, or None."""
        return self._read().get(name, _Named()).ref

    def list(self, prefix: str = "") -> Iterator[Ref]:
        """Yield the refs with this prefix, sorted."""
        for name, found in sorted(self._read().items()):
            if found.ref is not None and name.startswith(prefix):
                yield found.ref

    def log(self, name: str) -> Sequence[RefChange]:
        """Return the changes, oldest first."""
        return self._read().get(name, _Named()).log

    def set(self, ref: Ref) -> None:
        """Set a ref, and log it if that is a change."""
        old = self._read().get(ref.name, _Named())
        now = time.time_ns()
        log = old.log
        if is_changed(old.ref, ref):
            previous = old.ref.digest if old.ref else None
            log = (*log, RefChange(time=now, digest=ref.digest, previous=previous, kind=ref.kind, meta=ref.meta))
        self._write(ref.name, _Named(msgspec.structs.replace(ref, updated=now), log))

    def delete(self, name: str) -> None:
        """Drop a ref; its log stays."""
        old = self._read().get(name, _Named())
        if old.ref is None:
            raise RefNotFound(f"The store has no ref {shown(name)}")
        change = RefChange(time=time.time_ns(), digest=None, previous=old.ref.digest)
        self._write(name, _Named(None, (*old.log, change)))

    def _read(self) -> dict[str, _Named]:
        with contextlib.suppress(FileNotFoundError):
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, _Named])
        return {}

    def _write(self, name: str, value: _Named) -> None:
        fs.write_atomic(self._path, msgspec.json.encode({**self._read(), name: value}))
