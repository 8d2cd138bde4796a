"""How failures of the file system become errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from volt_cas import below
from volt_cas.record import MAX_DEPTH
from volt_core.errors import ArchiveInvalid, StoreError, StoreFull

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class SourceChanged(StoreError):
    """A file of the source was written to while it was read."""


class BundleInvalid(ArchiveInvalid):
    """A bundle that is damaged, hostile, or beyond the limits."""

    HINT = "Nothing of it was kept; get the bundle again."


@contextlib.contextmanager
def explained(act: str, where: Path) -> Iterator[None]:
    """Turn an OSError of the block into a :class:`StoreError`; `act` begins the message, `where` is being written."""
    try:
        yield
    except OSError as error:
        name = error.filename  # a number where the call took a descriptor
        about = f" '{below.shown(os.fsencode(name))}'" if isinstance(name, str | bytes) else ""
        if error.errno in NO_ROOM:
            raise StoreFull(
                f"{act}: no space left on the file system of '{where}'",
                hint="Free some space, for example with 'volt cas gc', then try again.",
            ) from error
        raise StoreError(f"{act}: {error.strerror or error}{about}") from error


def source_changed(path: bytes) -> SourceChanged:
    """Return the error for a file or directory below the source that is not what it was."""
    return SourceChanged(
        f"'{below.shown(path)}' changed while it was read",
        hint="Stop what writes to the directory, or exclude the file, then try again.",
    )


def tree_too_deep(path: bytes) -> StoreError:
    """Return the error for a directory below more than a tree can have."""
    return StoreError(
        f"Cannot store '{below.shown(path)}': it is more than {MAX_DEPTH} directories deep",
        hint="Exclude it, or put a directory further down.",
    )
