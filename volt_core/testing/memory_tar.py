"""Tar archives: ordinary ones, whole in memory."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import BinaryIO

import msgspec

from volt_core.contracts import Entry, EntryType

_XATTR = "SCHILY.xattr."
_TYPES = {
    tarfile.REGTYPE: EntryType.FILE,
    tarfile.AREGTYPE: EntryType.FILE,
    tarfile.DIRTYPE: EntryType.DIRECTORY,
    tarfile.SYMTYPE: EntryType.SYMLINK,
    tarfile.CHRTYPE: EntryType.CHARACTER,
    tarfile.BLKTYPE: EntryType.BLOCK,
    tarfile.FIFOTYPE: EntryType.FIFO,
}
_TAR_TYPES = {kind: letter for letter, kind in _TYPES.items() if letter != tarfile.AREGTYPE}


def read(stream: BinaryIO) -> list[tuple[Entry, bytes]]:
    """Return the members with their contents, the root first. Raises ValueError or tarfile.TarError."""
    found: dict[bytes, tuple[Entry, bytes]] = {}
    with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive:
        for info in archive:
            path = _path(info.name)
            file = archive.extractfile(info) if info.isreg() else None
            data = file.read() if file else b""
            if info.islnk():
                target = _path(info.linkname)
                if target not in found:
                    raise ValueError(f"hard link '{info.name}' leads to nothing before it")
                first, data = found[target]
                if not first.hardlink_group:
                    first = msgspec.structs.replace(first, hardlink_group=len(found) + 1)
                    found[target] = first, data
                found[path] = msgspec.structs.replace(first, path=path), data
                continue
            for parent in _parents(path):
                known = found.setdefault(parent, (_directory(parent), b""))[0]
                if known.type is not EntryType.DIRECTORY:
                    raise ValueError(f"'{info.name}' lies below something that is no directory")
            found[path] = _entry(info, path), data
    # A group that counts from the archive's order would give equal trees unequal digests.
    found.setdefault(b"", (_directory(b""), b""))
    numbers: dict[int, int] = {0: 0}
    ordered = sorted(found.values(), key=lambda pair: pair[0].path.split(b"/"))
    return [
        (_renumbered(entry, numbers.setdefault(entry.hardlink_group, len(numbers))), data) for entry, data in ordered
    ]


def write(stream: BinaryIO, entries: Sequence[Entry], content: Callable[[str], bytes]) -> None:
    """Write a pax archive; equal entries give equal bytes."""
    made: dict[int, str] = {}
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for entry in entries:
            name = "./" + entry.path.decode("utf-8", "surrogateescape") if entry.path else "."
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = _TAR_TYPES[entry.type], entry.mode, entry.uid, entry.gid
            seconds, nanoseconds = divmod(entry.mtime_ns, 10**9)
            info.mtime = seconds
            headers = {
                _XATTR + key: value.decode("utf-8", "surrogateescape") for key, value in sorted(entry.xattrs.items())
            }
            if nanoseconds or seconds < 0:
                headers["mtime"] = str(Decimal(entry.mtime_ns).scaleb(-9))
            info.pax_headers = headers
            info.linkname = entry.target.decode("utf-8", "surrogateescape")
            info.devmajor, info.devminor = entry.device or (0, 0)
            data = b""
            if entry.hardlink_group in made:
                info.type, info.linkname = tarfile.LNKTYPE, made[entry.hardlink_group]
            elif entry.type is EntryType.FILE:
                data = content(entry.digest)
                info.size = len(data)
            if entry.hardlink_group:
                made.setdefault(entry.hardlink_group, name)
            archive.addfile(info, io.BytesIO(data))


def _path(name: str) -> bytes:
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"'{name}' leads outside")
    path = posixpath.normpath(name)
    return b"" if path == "." else path.encode("utf-8", "surrogateescape")


def _parents(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(len(parts))] if path else []


def _directory(path: bytes) -> Entry:
    return Entry(path=path, type=EntryType.DIRECTORY, mode=0o755, uid=0, gid=0, mtime_ns=0)


def _entry(info: tarfile.TarInfo, path: bytes) -> Entry:
    kind = _TYPES.get(info.type)
    if kind is None:
        raise ValueError(f"'{info.name}' has the unknown type {info.type!r}")
    mtime = Decimal(info.pax_headers.get("mtime", info.mtime))
    return Entry(
        path=path,
        type=kind,
        mode=0o777 if kind is EntryType.SYMLINK else info.mode & 0o7777,
        uid=info.uid,
        gid=info.gid,
        mtime_ns=int(mtime.scaleb(9)),
        target=info.linkname.encode("utf-8", "surrogateescape") if kind is EntryType.SYMLINK else b"",
        device=(info.devmajor, info.devminor) if info.isdev() and not info.isfifo() else None,
        xattrs={
            key.removeprefix(_XATTR): value.encode("utf-8", "surrogateescape")
            for key, value in info.pax_headers.items()
            if key.startswith(_XATTR)
        },
    )


def _renumbered(entry: Entry, group: int) -> Entry:
    return msgspec.structs.replace(entry, hardlink_group=group)
