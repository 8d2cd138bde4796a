"""Where things are in a store, and which format it has.

``docs/formats.md`` describes format 1 well enough to write another implementation.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from volt_core import fs
from volt_core.errors import StateCorrupt, StateTooNew, StoreError
from volt_core.names import DIGEST_PREFIX, check_digest

FORMAT = 1
DIGEST_SIZE = 32
WRITER_PATIENCE = 300.0
"""Seconds that a writer waits for gc; gc on a large store takes that long, a build must not fail for it."""
GC_PATIENCE = 30.0
_DIGEST = "[0-9a-f]{64}"
_VARIANT = r"[0-9a-f]{64}\.[0-9a-f]{64}(\.[0-9]+)?"
_FOLDERS = ("objects", "variants", "trees", "refs", "links", "cache", "tmp")


class _Format(msgspec.Struct, frozen=True):
    format: int
    hash: str


def digest_text(digest: bytes) -> str:
    """Return a digest as people and other programs write it."""
    return DIGEST_PREFIX + digest.hex()


def digest_bytes(text: str) -> bytes:
    """Return the 32 bytes of a written digest. Raises :class:`InvalidName`."""
    return bytes.fromhex(check_digest(text).removeprefix(DIGEST_PREFIX))


def fan_out(digest: bytes) -> str:
    """Return the path of a digest below ``objects/``, ``variants/`` or ``trees/``: two hex digits, then the rest."""
    text = digest.hex()
    return f"{text[:2]}/{text[2:]}"


class Layout:
    """The paths of one store. Making it touches nothing but checks the format of a store that exists.

    Raises :class:`StateTooNew` and :class:`StateCorrupt`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.objects = path / "objects"
        self.variants = path / "variants"
        self.trees = path / "trees"
        self.refs = path / "refs"
        self.links = path / "links"
        self.cache = path / "cache"
        self.tmp = path / "tmp"
        self.quarantine = path / "quarantine"
        self.lock_file = path / "lock"
        self.refs_lock_file = path / "refs.lock"
        self._format_file = path / "format.json"
        self.check_format()

    def exists(self) -> bool:
        """Tell whether anything was ever put here. Raises :class:`StoreError` if that cannot be seen."""
        try:
            os.stat(self._format_file)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._unreadable(error) from error
        return True

    def prepare(self) -> None:
        """Make the store, or what is missing of it; for whoever is going to write. Several may do it at once.

        Raises :class:`StoreError` if the store belongs to another user, who could not use what this one writes.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_owner()
        for name in _FOLDERS:
            (self.path / name).mkdir(mode=0o700, exist_ok=True)
        if self.exists():
            return
        self.path.chmod(0o700)
        with fs.lock(self.lock_file, timeout=WRITER_PATIENCE, what=f"the store '{self.path}'"):
            if not self.exists():
                fs.remove_unfinished(self._format_file)
                # Last: a store with a format is whole.
                fs.write_atomic(self._format_file, msgspec.json.encode(_Format(FORMAT, "sha256")) + b"\n", mode=0o600)

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Keep gc away for the length of the block; for everything that adds to the store or relies on it."""
        with fs.lock(self.lock_file, shared=True, timeout=WRITER_PATIENCE, what=f"the store '{self.path}'"):
            self.check_format()
            yield

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be alone with the store for the length of the block."""
        with fs.lock(self.lock_file, timeout=GC_PATIENCE, what=f"the store '{self.path}'"):
            self.check_format()
            yield

    def object_path(self, digest: bytes) -> Path:
        """Return where the content with this digest is kept."""
        return self.objects / fan_out(digest)

    def tree_path(self, digest: bytes) -> Path:
        """Return where the record with this digest is kept."""
        return self.trees / fan_out(digest)

    def read_tree_file(self, digest: bytes) -> bytes:
        """Return the bytes of a record. Raises :class:`FileNotFoundError`."""
        return read_regular(self.tree_path(digest))

    def has_tree(self, digest: bytes) -> bool:
        """Tell whether there is a record with this digest."""
        return self.tree_path(digest).exists()

    def link_path(self, digest: bytes) -> Path:
        """Return the folder of the linked checkout; the tree itself is ``root`` in it."""
        return self.links / digest.hex()

    def linked(self) -> Iterator[tuple[bytes, Path]]:
        """Yield the linked checkouts, sorted, with the digests of their trees; other files are passed over."""
        names = os.listdir(self.links) if self.links.is_dir() else ()
        for name in sorted(names):
            if re.fullmatch(_DIGEST, name):
                yield bytes.fromhex(name), self.links / name

    def _check_owner(self) -> None:
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise StoreError(
                f"Cannot write to the store '{self.path}': it belongs to {_user_name(owner)}",
                hint="Run the command as that user, or choose another store.",
            )

    def _unreadable(self, error: OSError) -> StoreError:
        return StoreError(
            f"Cannot read the store '{self.path}': {error.strerror}",
            hint="Run the command as the user whose store it is, or choose another store.",
        )

    def check_format(self) -> None:
        """Refuse a format that this Volt does not know; it may have changed since the store was opened."""
        try:
            data = self._format_file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unreadable(error) from error
        try:
            found = msgspec.json.decode(data, type=_Format)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StateCorrupt(
                f"The store '{self.path}' has a damaged format.json: {error}",
                hint='Write {"format": 1, "hash": "sha256"} into it, then run volt cas verify.',
            ) from error
        if found.format > FORMAT or found.hash != "sha256":
            raise StateTooNew(
                f"The store '{self.path}' has format {found.format} with {found.hash}, this Volt knows {FORMAT}",
                hint="It was made by a newer Volt: upgrade this one.",
            )
        if found.format != FORMAT:
            raise StateCorrupt(
                f"The store '{self.path}' has format {found.format}, which there never was",
                hint="Look who wrote format.json; the first format is 1.",
            )


def read_regular(path: Path) -> bytes:
    """Return the content of a file of a store. Raises :class:`OSError`, also for what is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), os.fspath(path))
        return file.read()


def addressed(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what lies in a fanned-out folder, sorted, with its name put together again; other files are passed over.

    Only names of variants have something behind the digest.
    """
    pattern = re.compile(_VARIANT if folder.name == "variants" else _DIGEST)
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as prefixes:
        for prefix in sorted(prefixes, key=lambda entry: entry.name):
            if prefix.is_dir(follow_symlinks=False):
                with os.scandir(prefix) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        name = prefix.name + entry.name
                        if len(prefix.name) == 2 and pattern.fullmatch(name):
                            yield name, entry


def _user_name(uid: int) -> str:
    try:
        return f"user '{pwd.getpwuid(uid).pw_name}'"
    except KeyError:
        return f"user {uid}"
