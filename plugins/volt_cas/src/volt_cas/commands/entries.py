"""Entries of trees, as rows for people and as JSON for programs."""

from __future__ import annotations

import base64
import stat
from typing import Any

from volt_cas import below
from volt_core.cli.render import moment
from volt_core.contracts import Entry, EntryType

_FORMATS = {
    EntryType.FILE: stat.S_IFREG,
    EntryType.DIRECTORY: stat.S_IFDIR,
    EntryType.SYMLINK: stat.S_IFLNK,
    EntryType.CHARACTER: stat.S_IFCHR,
    EntryType.BLOCK: stat.S_IFBLK,
    EntryType.FIFO: stat.S_IFIFO,
}


def row(entry: Entry) -> tuple[str, ...]:
    """Return mode, owner, size or device number, time and path."""
    extent = f"{entry.device[0]}, {entry.device[1]}" if entry.device else str(entry.size)
    arrow = f" -> {below.shown(entry.target)}" if entry.target else ""
    mode = stat.filemode(_FORMATS[entry.type] | entry.mode)
    return mode, f"{entry.uid}:{entry.gid}", extent, exact_moment(entry.mtime_ns), below.shown(entry.path) + arrow


def exact_moment(mtime_ns: int) -> str:
    """Return an ISO 8601 time, or the number of nanoseconds where a calendar has none."""
    try:
        return moment(mtime_ns)
    except (OverflowError, ValueError, OSError):
        return str(mtime_ns)  # beyond the years that a calendar has


def summary(entry: Entry) -> dict[str, Any]:
    """An entry for JSON, which has no bytes: where a path is no text, the exact one is beside it in base64."""
    seconds, nanoseconds = divmod(entry.mtime_ns, 10**9)
    document: dict[str, Any] = {
        "path": entry.path.decode("utf-8", "backslashreplace"),
        "type": entry.type,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "mtime": {"seconds": seconds, "nanoseconds": nanoseconds},
        "digest": entry.digest,
        "hardlink_group": entry.hardlink_group,
    }
    if not _is_text(entry.path):
        document["path_base64"] = base64.b64encode(entry.path).decode()
    if entry.target:
        document["target"] = entry.target.decode("utf-8", "backslashreplace")
        if not _is_text(entry.target):
            document["target_base64"] = base64.b64encode(entry.target).decode()
    if entry.device:
        document["device"] = entry.device
    if entry.xattrs:
        document["xattrs"] = {
            name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"): base64.b64encode(
                value
            ).decode()
            for name, value in entry.xattrs.items()
        }
    return document


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
