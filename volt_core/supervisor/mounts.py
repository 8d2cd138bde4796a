"""A mount namespace for one workload, entered by its supervisor before it starts anything.

Root needs nothing but the namespace; a user takes a user namespace in which he is himself, where the
host allows that. Mounts made here are seen by the supervisor's children and by nobody else.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path

from volt_core.supervisor.model import PrivateMount

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_NOSUID = 0x2
_MS_NODEV = 0x4
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 0x1
_SYS_MOUNT_SETATTR = 442  # the same on every architecture
_TMPFS_OPTIONS = b"mode=1777"


def enter_private(mounts: Sequence[PrivateMount]) -> None:
    """Move this process, which must have one thread, into its own mount namespace and mount there.

    Raises OSError where the host does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _enter_namespace(libc)
    # Else what we mount would appear on the host, and what the host unmounts would stay busy here.
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "/")
    for mount in mounts:
        target = os.fsencode(mount.target)
        if mount.type == "overlay":
            _check(libc.mount(b"overlay", target, b"overlay", 0, _overlay_options(mount)), mount.target)
        elif mount.type == "tmpfs":
            _check(libc.mount(b"tmpfs", target, b"tmpfs", _MS_NOSUID | _MS_NODEV, _TMPFS_OPTIONS), mount.target)
        else:
            source = os.fsencode(mount.source)
            _check(libc.mount(source, target, None, _MS_BIND | _MS_REC, None), mount.source)
        if mount.type == "bind-ro":
            # Unlike a remount, this keeps the flags that a user namespace may not clear.
            attributes = struct.pack("=4Q", _MOUNT_ATTR_RDONLY, 0, 0, 0)
            _check(
                libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, target, _AT_RECURSIVE, attributes, len(attributes)),
                mount.target,
            )


def _overlay_options(mount: PrivateMount) -> bytes:
    places = {"lowerdir": mount.source, "upperdir": mount.upper, "workdir": mount.work}
    options = [f"{name}={_escaped(path)}" for name, path in places.items()]
    # What is removed or opaque is noted in xattrs, of which only root can have trusted ones.
    return os.fsencode(",".join([*options, *(["userxattr"] if os.geteuid() != 0 else [])]))


def _escaped(path: str) -> str:
    return re.sub(r"[\\:,]", r"\\\g<0>", path)


def _enter_namespace(libc: ctypes.CDLL) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _check(libc.unshare(_CLONE_NEWNS), "mount namespace")
        return
    _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "user namespace")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def become_subreaper() -> None:
    """Adopt descendants whose parent ends, so that none of them escapes."""
    pr_set_child_subreaper = 36
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(pr_set_child_subreaper, 1, 0, 0, 0), "subreaper")
