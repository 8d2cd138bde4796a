"""What ``volt doctor`` says about the store."""

from __future__ import annotations

from pathlib import Path

from volt_cas.layout import Layout
from volt_cas.mounts import file_system
from volt_core.errors import StateError
from volt_core.models.extension import Check, Verdict
from volt_core.paths import VoltPaths

_AREA = "store"
_REFLINKS = ("xfs", "btrfs", "bcachefs")


def find_checks(paths: VoltPaths) -> tuple[Check, ...]:
    """Look at the store's format and its file system; nothing is written."""
    return (_format(paths.store), _reflink(paths.store))


def _format(path: Path) -> Check:
    try:
        exists = Layout(path).exists()
    except StateError as error:
        return Check(area=_AREA, what=error.brief, verdict=Verdict.MISSING, hint=error.hint or "")
    what = f"The store '{path}' has format 1" if exists else f"The store will be made at '{path}'"
    return Check(area=_AREA, what=what, verdict=Verdict.OK)


def _reflink(path: Path) -> Check:
    kind = file_system(path)
    if kind in _REFLINKS:
        return Check(area=_AREA, what=f"Checkouts may share blocks with the store ({kind})", verdict=Verdict.OK)
    what = f"Checkouts are copies: {kind} cannot share blocks between files"
    return Check(area=_AREA, what=what, verdict=Verdict.WARNING, hint="Put the store on XFS or btrfs to save space.")
