"""Linked trees: one linked checkout per tree, kept in the store and shared, read-only, by all its users."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from volt_cas.checkout import check_out
from volt_cas.layout import Layout
from volt_cas.staging import open_staging, sync_store
from volt_core import fs
from volt_core.contracts import SILENT, CheckoutMode

_ROOT = "root"
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


def linked_tree(layout: Layout, digest: bytes) -> Path:
    """Return the linked checkout of the tree, made if missing. The caller keeps gc away.

    It is made in ``tmp/`` and renamed, so that what has the name is whole. What is renamed is a folder around
    the tree: the root directory of a tree may be one that its owner may not write, hence not move.
    """
    path = layout.link_path(digest)
    if not path.is_dir():
        layout.prepare()
        with open_staging(layout) as staging:
            fresh = staging / "link"
            fresh.mkdir(mode=0o700)
            check_out(layout, digest, fresh / _ROOT, mode=CheckoutMode.LINK, progress=SILENT)
            sync_store(layout)
            try:
                os.rename(fresh, path)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
        with contextlib.suppress(FileNotFoundError):
            fs.sync_directory(layout.links)
    return path / _ROOT
