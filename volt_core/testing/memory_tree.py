"""Directories and their entries: read one, write one."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from volt_core.contracts import CheckoutResult, Entry, EntryType, Progress
from volt_core.errors import NotFoundError

_MAX_SYMLINKS = 40
_TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFCHR: EntryType.CHARACTER,
    stat.S_IFBLK: EntryType.BLOCK,
    stat.S_IFIFO: EntryType.FIFO,
}


def scan(
    source: Path, exclude: Sequence[str], one_file_system: bool, notes: list[str]
) -> Iterator[tuple[Entry, bytes]]:
    """Yield the entries of a directory with their contents, the root first; what is left out goes to `notes`."""
    groups: dict[tuple[int, int], int] = {}
    device = os.stat(source).st_dev
    root = os.fsencode(source)
    stack = [b""]
    while stack:
        path = stack.pop()
        full = root + b"/" + path if path else root
        info = os.stat(full, follow_symlinks=not path)
        kind = _TYPES.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            notes.append(f"left out a socket: {os.fsdecode(path)}")
            continue
        group = 0
        if info.st_nlink > 1 and kind is not EntryType.DIRECTORY:
            group = groups.setdefault((info.st_dev, info.st_ino), len(groups) + 1)
        entry = Entry(
            path=path,
            type=kind,
            mode=stat.S_IMODE(info.st_mode) if kind is not EntryType.SYMLINK else 0o777,
            uid=info.st_uid,
            gid=info.st_gid,
            mtime_ns=info.st_mtime_ns,
            target=os.readlink(full) if kind is EntryType.SYMLINK else b"",
            device=(os.major(info.st_rdev), os.minor(info.st_rdev)) if kind in "cb" else None,
            xattrs=_xattrs(full),
            hardlink_group=group,
        )
        data = b""
        if kind is EntryType.FILE:
            with open(full, "rb") as file:
                data = file.read()
        yield entry, data
        if kind is EntryType.DIRECTORY and not (one_file_system and info.st_dev != device):
            below = sorted((path + b"/" + name if path else name for name in os.listdir(full)), reverse=True)
            stack += [child for child in below if not _is_excluded(os.fsdecode(child), exclude)]


def _is_excluded(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern.strip("/")) for pattern in patterns)


def _xattrs(path: bytes) -> dict[str, bytes]:
    wanted = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
        if name in wanted or (name.startswith("user.") and not name.startswith("user.overlay."))
    }


def resolve(tree: dict[bytes, Entry], path: bytes) -> bytes:
    """Follow symlinks within the tree, where '/' is the tree's root."""
    for _ in range(_MAX_SYMLINKS):
        path = posixpath.normpath(b"/" + path).lstrip(b"/")
        parts = path.split(b"/")
        for count in range(1, len(parts) + 1):
            entry = tree.get(b"/".join(parts[:count]))
            if entry is not None and entry.type is EntryType.SYMLINK:
                path = posixpath.join(b"/", *parts[: count - 1], entry.target, *parts[count:])
                break
        else:
            return path
    raise NotFoundError(f"Too many symlinks at '{os.fsdecode(path)}'")


def make(entry: Entry, path: bytes, data: bytes) -> None:
    """Make one entry; a directory is finished later, by :func:`finish`."""
    match entry.type:
        case EntryType.DIRECTORY:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
            return
        case EntryType.SYMLINK:
            os.symlink(entry.target, path)
        case EntryType.FILE:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
        case EntryType.FIFO:
            os.mkfifo(path)
        case EntryType.CHARACTER | EntryType.BLOCK:
            assert entry.device is not None
            kind = stat.S_IFCHR if entry.type is EntryType.CHARACTER else stat.S_IFBLK
            os.mknod(path, kind | 0o600, os.makedev(*entry.device))
    finish(entry, path)


def finish(entry: Entry, path: bytes) -> None:
    """Give what was made its owner, mode, attributes and time."""
    if os.geteuid() == 0:
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if entry.type is not EntryType.SYMLINK:
        os.chmod(path, entry.mode)
    for name, value in entry.xattrs.items():
        with contextlib.suppress(PermissionError):
            os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def write(entries: Sequence[Entry], root: bytes, content: Callable[[str], bytes], progress: Progress) -> CheckoutResult:
    """Make a tree in the directory `root`; `content` gives what a digest stands for."""
    progress.begin("check out")
    made: dict[int, bytes] = {}
    skipped = 0
    root_user = os.geteuid() == 0
    for entry in entries:
        path = root + b"/" + entry.path if entry.path else root
        if entry.hardlink_group in made:
            os.link(made[entry.hardlink_group], path, follow_symlinks=False)
            continue
        if entry.type in (EntryType.CHARACTER, EntryType.BLOCK) and not root_user:
            skipped += 1
            continue
        skipped += not root_user and (entry.uid, entry.gid) != (os.geteuid(), os.getegid())
        make(entry, path, content(entry.digest) if entry.type is EntryType.FILE else b"")
        if entry.hardlink_group:
            made[entry.hardlink_group] = path
        progress.advance(entry.size, 1)
    # What is made in a directory changes its time, and a directory may not be writable in the end.
    for entry in reversed(entries):
        if entry.type is EntryType.DIRECTORY:
            finish(entry, root + b"/" + entry.path if entry.path else root)
    files = [entry for entry in entries if entry.type is EntryType.FILE]
    note = f"left out without root: owners or devices of {skipped} entries"
    size = sum(entry.size for entry in files)
    return CheckoutResult(files=len(files), bytes=size, notes=(note,) if skipped else ())
