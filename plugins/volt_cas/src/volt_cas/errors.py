"""How failures of the file system become errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from volt_cas import below
from volt_core.errors import StoreError, StoreFull

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class SourceChanged(StoreError):
    """A file of the source was written to while it was read."""


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
