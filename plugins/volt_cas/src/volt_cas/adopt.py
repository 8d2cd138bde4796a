"""Adopting: a file of a source that is ours to consume becomes an object as it is, by a hard link.

From then on the file in the source *is* the object: whoever writes to it damages the store. So an inode is taken
only if nobody but us can have a hold on it: we own it, it has no other name, and no process has it open for
writing. What it carries must be what the record says, for nothing about it is ever changed; else it is copied.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal

from volt_cas.metadata import is_overlay, metadata_of, read_xattrs
from volt_cas.record import Metadata

_SET_SIGNAL = 10  # F_SETSIG
_NOT_HERE = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK)


class Adopter:
    """Judges the files of one run. `device` is that of the store."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._uid = os.geteuid()

    def why_not(self, descriptor: int, info: os.stat_result, metadata: Metadata) -> str | None:
        """Return why a file must be copied, in the words of a note, or None: then nobody writes while it is open.

        Who opens it for writing meanwhile waits until `descriptor` is closed.
        """
        if info.st_dev != self._device:
            return "on another file system"
        if self._uid not in (0, info.st_uid):
            return "of another owner"
        if info.st_nlink != 1:
            return "with other names"
        if metadata_of(info, read_xattrs(descriptor)[0]) != metadata:
            return "with other times than the record"
        if any(map(is_overlay, os.listxattr(descriptor))):
            return "with attributes of overlayfs"
        if not _hold(descriptor):
            return "that may be open for writing"
        return None


def link_open_file(descriptor: int, folder: int, name: bytes) -> bool:
    """Give an open file a name in `folder`: the file itself, whatever its path leads to by now.

    Return False where the file system refuses. Raises :class:`FileNotFoundError` for a file that lost its name.
    """
    try:
        os.link(b"/proc/self/fd/%d" % descriptor, name, dst_dir_fd=folder, follow_symlinks=True)
    except OSError as error:
        if error.errno in _NOT_HERE:  # a bind mount, an immutable file, a rule against links
            return False
        raise
    return True


def _hold(descriptor: int) -> bool:
    """Take a read lease: the kernel grants it only while nobody has the file open, or mapped, for writing."""
    try:
        # A broken lease is told by SIGIO, which ends a process that does not expect it; this one ends nothing.
        fcntl.fcntl(descriptor, _SET_SIGNAL, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    return True
