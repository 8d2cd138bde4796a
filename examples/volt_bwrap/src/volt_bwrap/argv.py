"""Command lines of bubblewrap, as data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from volt_core.models.mount import Mount

INIT_PATH: Final = "/dev/.volt-init"
"""Where the container sees Volt's ``init``: its /dev is in memory, so nothing is left in the root."""
SYSTEM: Final = ("/proc", "/dev", "/sys")
_CAPABILITIES: Final = tuple(
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP SETFCAP SYS_CHROOT NET_BIND_SERVICE".split()
)
"""What root of a container has, for package managers and daemons: nothing that reaches beyond it and its network."""
WRITABLE: Final = ("/tmp", "/run", "/var/tmp")  # noqa: S108  -- paths of the container, not ours
"""Empty and in memory when the root is read-only."""


def build_bwrap_argv(
    root: Path,
    init: Path,
    *,
    hostname: str,
    user: tuple[int, int] | None = None,
    mounts: Sequence[Mount] = (),
    tmpfs: Sequence[str] = (),
    read_only: bool = False,
    network: bool = True,
) -> list[str]:
    """Build the command line to which the command is appended.

    With `user` the container is in a user namespace whose only user and group these are, both the caller's own outside;
    without, and as root, it has the ids of the host. The targets of `mounts` and `tmpfs` have no symlinks in them.
    """
    argv = ["bwrap", "--die-with-parent", "--as-pid-1", "--unshare-pid", "--unshare-ipc", "--unshare-cgroup-try"]
    argv += ["--unshare-uts", "--hostname", hostname, "--chdir", "/"]
    if user is not None:
        argv += ["--unshare-user", "--uid", str(user[0]), "--gid", str(user[1])]
    if not network:
        argv.append("--unshare-net")
    argv += ["--cap-drop", "ALL"]
    if user is None or user[0] == 0:
        for name in _CAPABILITIES:
            argv += ["--cap-add", f"CAP_{name}"]
    argv += ["--bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys"]
    argv += ["--perms", "1777", "--tmpfs", "/dev/shm", "--ro-bind", str(init), INIT_PATH]  # noqa: S108
    for path in tmpfs:
        argv += ["--perms", "1777", "--tmpfs", path]
    for mount in mounts:
        argv += ["--ro-bind" if mount.read_only else "--bind", mount.source, mount.target]
    if read_only:
        # Last: until then bwrap makes the places that it mounts at.
        argv += ["--remount-ro", "/"]
    return [*argv, "--"]
