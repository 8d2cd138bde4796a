"""What inodes carry beside their content: reading it from a source, setting it on what is made."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

import msgspec

from volt_cas.record import NANOSECONDS, OVERLAY_XATTRS, Metadata, is_kept_xattr
from volt_core.contracts import EntryType
from volt_core.native.owner import Owner

CAPABILITY = "security.capability"
XATTRS_UNREADABLE = "attributes that cannot be read"
ACL_ACCESS = "system.posix_acl_access"
ACL_DEFAULT = "system.posix_acl_default"
_OVERLAY = tuple(prefix.decode() for prefix in OVERLAY_XATTRS)
_NAMESPACES = ("security", "system", "trusted")
_UNREADABLE = (errno.ENOTSUP, errno.EPERM, errno.EACCES)
_ALL_IDS = 2**32 - 1
# Unknown to the target file system, not for this user to set, or too large: ext4 says ENOSPC to 4 KiB, full or not.
_REFUSED = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSPC, errno.E2BIG, errno.ERANGE)

Xattrs = tuple[tuple[bytes, bytes], ...]
TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFCHR: EntryType.CHARACTER,
    stat.S_IFBLK: EntryType.BLOCK,
    stat.S_IFIFO: EntryType.FIFO,
}


def is_kept(name: str) -> bool:
    """Tell whether an extended attribute belongs into a record."""
    return is_kept_xattr(os.fsencode(name))


def is_overlay(name: str) -> bool:
    """Tell whether an extended attribute would change how overlayfs shows the tree: never taken from outside."""
    return name.startswith(_OVERLAY)


def is_whiteout(kind: EntryType, major: int, minor: int) -> bool:
    """Tell whether a device means "deleted" to overlayfs: never taken from outside."""
    return kind is EntryType.CHARACTER and major == 0 and minor == 0


def _mapped(kind: str) -> tuple[range, ...]:
    """Return the ids that exist in this user namespace."""
    with open(f"/proc/self/{kind}_map") as file:
        lines = [tuple(map(int, line.split())) for line in file]
    return tuple(range(start, start + count) for start, _, count in lines)


def _find_owner() -> Owner:
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        gids = sorted({gid, *os.getgroups()})
        return Owner(uid, gid, False, False, (range(uid, uid + 1),), tuple(range(each, each + 1) for each in gids))
    uids, mapped_gids = _mapped("uid"), _mapped("gid")
    may_all = sum(map(len, uids)) == sum(map(len, mapped_gids)) == _ALL_IDS
    return Owner(uid, gid, may_all, True, uids, mapped_gids)


def _is_in(identity: int, ranges: tuple[range, ...]) -> bool:
    return any(identity in ids for ids in ranges)


def why_left_out(name: str) -> str | None:
    """Return what a note calls an extended attribute that no record keeps, or None for one that is kept."""
    if is_kept(name):
        return None
    if is_overlay(name):
        return "attributes of overlayfs"
    namespace = name.partition(".")[0]
    return f"attributes '{namespace}.*'" if namespace in _NAMESPACES else "attributes of unknown namespaces"


def read_xattrs(path: str | bytes | int) -> tuple[Xattrs, tuple[str, ...]]:
    """Return the kept extended attributes, sorted, and what was left out, in the words of a note.

    `path` is a path that is not followed, or a descriptor.
    """
    follow = isinstance(path, int)
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            return (), ()
        raise
    if not names:
        return (), ()
    kept = []
    left_out = set()
    for name in names:
        if why := why_left_out(name):
            left_out.add(why)
            continue
        try:
            kept.append((os.fsencode(name), os.getxattr(path, name, follow_symlinks=follow)))
        except OSError as error:
            if error.errno in _UNREADABLE:
                left_out.add(XATTRS_UNREADABLE)
            elif error.errno != errno.ENODATA:  # removed meanwhile
                raise
    return tuple(sorted(kept)), tuple(sorted(left_out))


def metadata_of(info: os.stat_result, xattrs: Xattrs) -> Metadata:
    """Return what stat and the attributes say as a record keeps it."""
    seconds, nanoseconds = divmod(info.st_mtime_ns, NANOSECONDS)
    return Metadata(stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, seconds, nanoseconds, xattrs)


class Applier:
    """Sets metadata on what this process makes, as far as it may, and counts what it had to leave out.

    Without root an owner cannot be given away and no capability set. Set-uid and set-gid bits are then left
    out too: with another owner than the recorded one they would lend *our* rights to whoever runs the file.

    Attributes:
        owner: which owners it can give.
    """

    def __init__(self) -> None:
        self.owner = _find_owner()
        self._foreign = 0
        self._refused_xattrs: set[str] = set()
        self._devices = 0

    def applicable(self, metadata: Metadata) -> Metadata:
        """Return `metadata` as this process will set it."""
        owner = self.owner
        if owner.may_all:
            return metadata
        uid, gid, mode, xattrs = metadata.uid, metadata.gid, metadata.mode, metadata.xattrs
        have_uid, have_gid = _is_in(uid, owner.uids), _is_in(gid, owner.gids)
        if not (have_uid and have_gid):
            self._foreign += 1
            uid = uid if have_uid else owner.uid
            gid = gid if have_gid else owner.gid
            mode &= 0o1777
        if xattrs and not owner.may_capabilities:
            kept = tuple(pair for pair in xattrs if pair[0] != CAPABILITY.encode())
            if kept != xattrs:
                self._refused_xattrs.add(CAPABILITY)
            xattrs = kept
        return msgspec.structs.replace(metadata, uid=uid, gid=gid, mode=mode, xattrs=xattrs)

    def apply(self, descriptor: int, metadata: Metadata) -> None:
        """Set owner, attributes, mode and times of an open file or directory that this process has just made."""
        # In this order: chown drops capabilities and set-uid bits, an ACL changes the mode's group bits.
        if self._chown(descriptor, metadata):
            self._set_xattrs(descriptor, metadata)
            os.fchmod(descriptor, metadata.mode)
        else:
            self._set_xattrs(descriptor, metadata)
            os.fchmod(descriptor, metadata.mode & 0o1777)
        os.utime(descriptor, ns=(metadata.mtime_ns, metadata.mtime_ns))

    def apply_at(self, directory: int, name: bytes, metadata: Metadata, *, symlink: bool) -> None:
        """Set the same on something that cannot be opened: a symlink, a device, a fifo in `directory`."""
        mode = metadata.mode
        try:
            os.chown(name, metadata.uid, metadata.gid, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            self._count_foreign(error)
            mode &= 0o1777
        if metadata.xattrs:
            self._set_xattrs(b"/proc/self/fd/%d/%s" % (directory, name), metadata)
        if not symlink:
            os.chmod(name, mode, dir_fd=directory)
        os.utime(name, ns=(metadata.mtime_ns, metadata.mtime_ns), dir_fd=directory, follow_symlinks=False)

    def left_out_device(self) -> None:
        """Count a device that could not be made."""
        self._devices += 1

    def count(self, foreign: int, devices: int, xattrs: Iterable[str]) -> None:
        """Count what others have left out by the same rules."""
        self._foreign += foreign
        self._devices += devices
        self._refused_xattrs.update(xattrs)

    def notes(self) -> tuple[str, ...]:
        """Return one note about all that was left out, or none."""
        parts = []
        if self._foreign:
            parts.append(f"the owners of {self._foreign} entries")
        if self._devices:
            parts.append(f"{self._devices} device nodes")
        if self._refused_xattrs:
            parts.append(f"the attributes {', '.join(sorted(self._refused_xattrs))}")
        if not parts:
            return ()
        why = "neither this user namespace nor this file system takes them" if self.owner.uid == 0 else "not root"
        return (f"Left out {' and '.join(parts)}: {why}",)

    def _chown(self, descriptor: int, metadata: Metadata) -> bool:
        try:
            os.fchown(descriptor, metadata.uid, metadata.gid)
        except OSError as error:
            self._count_foreign(error)
            return False
        return True

    def _count_foreign(self, error: OSError) -> None:
        # EINVAL: root of a user namespace that has no such id.
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise error
        self._foreign += 1

    def _set_xattrs(self, path: int | bytes, metadata: Metadata) -> None:
        for name, value in metadata.xattrs:
            try:
                os.setxattr(path, name, value, follow_symlinks=isinstance(path, int))
            except OSError as error:
                if error.errno not in _REFUSED or (error.errno == errno.ENOSPC and _is_full(path)):
                    raise
                self._refused_xattrs.add(os.fsdecode(name))


def _is_full(path: int | bytes) -> bool:
    return os.statvfs(path).f_bavail == 0
