"""Refs: named roots. One JSON file each, which holds the present value and the log of the former ones.

``images/debian:bookworm`` is the file ``refs/images/debian:bookworm.json``. A deleted ref stays as a file
without digest, for its log; refs below ``use/`` come and go with workloads, so theirs are removed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from volt_cas.errors import NO_ROOM
from volt_cas.layout import Layout, digest_bytes
from volt_cas.staging import sync_store
from volt_core import fs
from volt_core.contracts import Ref, RefChange
from volt_core.errors import InvalidName, RefNotFound, StateCorrupt, StateError
from volt_core.names import check_ref, shown
from volt_core.state import StateFile

_SUFFIX = ".json"
_LOG_LENGTH = 200
_FLEETING = "use/"


class RefFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the file of a ref holds. Times are nanoseconds since the epoch."""

    schema: int = 1
    name: str
    digest: str | None = None
    """None: the ref was deleted."""
    kind: str = "tree"
    updated: int = 0
    meta: Mapping[str, str] = {}
    log: tuple[RefChange, ...] = ()
    """Oldest first; only the newest 200 are kept."""

    def __post_init__(self) -> None:
        if self.digest is not None:
            digest_bytes(self.digest)


_FILE = StateFile(RefFile, hint="Set or delete the ref, or remove the file: gc refuses to work until then.")


class Refs:
    """The refs of one store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def find(self, name: str) -> Ref | None:
        """Return the ref, or None. Raises :class:`StateCorrupt`."""
        found = self._read(self._path(name))
        return _ref(found) if found else None

    def find_sound(self, name: str) -> Ref | None:
        """Return the ref, or None if there is none or it is damaged."""
        try:
            return self.find(name)
        except StateCorrupt:
            return None

    def check(self, name: str) -> None:
        """Raise :class:`InvalidName` for a ref that cannot be set."""
        self._path(name)

    def list(self, prefix: str = "") -> Iterator[Ref]:
        """Yield the sound refs whose name starts with `prefix`, sorted by name."""
        return (ref for ref in self.read_all(prefix) if isinstance(ref, Ref))

    def read_all(self, prefix: str = "") -> Iterator[Ref | StateError]:
        """Yield what :meth:`list` does, and a damaged ref as the error that says so."""
        found = []
        for path in self._files():
            name = path.relative_to(self._layout.refs).as_posix().removesuffix(_SUFFIX)
            if path.suffix == _SUFFIX and not path.name.startswith(".") and name.startswith(prefix):
                found.append((name, path))
        for _, path in sorted(found):
            try:
                file = self._read(path)
            except StateError as error:
                yield error
                continue
            if file and (ref := _ref(file)):
                yield ref

    def log(self, name: str) -> tuple[RefChange, ...]:
        """Return the former values, oldest first; none if there never was such a ref."""
        found = self._read(self._path(name))
        return found.log if found else ()

    def set(self, ref: Ref) -> None:
        """Point the name at the digest; durable when this returns.

        The caller keeps gc away and knows that the tree is there.
        """
        digest_bytes(ref.digest)
        path = self._path(ref.name)
        with self._locked():
            _make_durable_parents(path.parent, self._layout.refs)
            try:
                old = self._read(path)
            except StateCorrupt:
                old = None
            now = time.time_ns()
            log = old.log if old else ()
            # Putting the same again and again must not push the last other value out.
            if old is None or (old.digest, old.kind, old.meta) != (ref.digest, ref.kind, ref.meta):
                previous = old.digest if old else None
                change = RefChange(time=now, digest=ref.digest, previous=previous, kind=ref.kind, meta=ref.meta)
                log = (*log, change)[-_LOG_LENGTH:]
            sync_store(self._layout)
            new = RefFile(name=ref.name, digest=ref.digest, kind=ref.kind, updated=now, meta=ref.meta, log=log)
            _FILE.write(path, new, mode=0o600)

    def delete(self, name: str) -> None:
        """Drop the name; a damaged ref with its log. Raises :class:`RefNotFound`."""
        path = self._path(name)
        if not self._layout.exists():
            raise _not_found(name)
        with self._locked():
            try:
                old = self._read(path)
            except StateCorrupt:
                _unlink(path)
                return
            if old is None or old.digest is None:
                raise _not_found(name)
            if name.startswith(_FLEETING):
                _unlink(path)
                return
            now = time.time_ns()
            change = RefChange(time=now, digest=None, previous=old.digest)
            log = (*old.log, change)[-_LOG_LENGTH:]
            try:
                _FILE.write(path, RefFile(name=name, updated=now, kind=old.kind, log=log), mode=0o600)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                _unlink(path)  # with its log: whoever deletes is about to make room

    def remove_leftovers(self) -> None:
        """Remove temporary files of writers that died; the caller is alone with the store."""
        with self._locked():
            for path in self._files():
                if path.name.startswith(".") and path.suffix == ".tmp":
                    path.unlink()

    def _files(self) -> Iterator[Path]:
        """Yield all files; what cannot be listed is an error, for gc takes a ref that is not seen for gone."""
        for folder, _, names in os.walk(self._layout.refs, onerror=_fail_unless_missing):
            yield from (Path(folder, name) for name in names)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with fs.lock(self._layout.refs_lock_file, what="the refs of the store"):
            self._layout.check_format()
            yield

    def _path(self, name: str) -> Path:
        *folders, last = check_ref(name).split("/")
        # "a.json/b" would need a folder where the file of "a" is.
        if any(folder.endswith(_SUFFIX) for folder in folders):
            raise InvalidName(f"Invalid ref {shown(name)}", hint="Only the last part may end in '.json'.")
        return self._layout.refs.joinpath(*folders, last + _SUFFIX)

    def _read(self, path: Path) -> RefFile | None:
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        found = _FILE.decode(data, str(path))
        if path != self._path(found.name):
            raise StateCorrupt(
                f"Ref file '{path}' is damaged: it is that of {shown(found.name)}",
                hint="Set or delete the ref, or remove the file: gc refuses to work until then.",
            )
        return found


def _ref(found: RefFile) -> Ref | None:
    if found.digest is None:
        return None
    return Ref(name=found.name, digest=found.digest, kind=found.kind, updated=found.updated, meta=found.meta)


def _fail_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _unlink(path: Path) -> None:
    path.unlink()
    fs.sync_directory(path.parent)


def _not_found(name: str) -> RefNotFound:
    return RefNotFound(f"The store has no ref {shown(name)}", hint="'volt cas status' lists the refs.")


def _make_durable_parents(folder: Path, top: Path) -> None:
    if folder.is_dir():
        return
    if folder != top:
        _make_durable_parents(folder.parent, top)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    fs.sync_directory(folder.parent)
