"""Which capabilities a container keeps.

nspawn grants a set of its own (systemd-nspawn(1), --capability=) and drops what --drop-capability= names; what
is granted and dropped at once is dropped. So the list to drop is its set without the wanted ones.
"""

from __future__ import annotations

_GRANTED = (
    "CAP_AUDIT_CONTROL CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID "
    "CAP_IPC_OWNER CAP_KILL CAP_LEASE CAP_LINUX_IMMUTABLE CAP_MKNOD CAP_NET_ADMIN CAP_NET_BIND_SERVICE "
    "CAP_NET_BROADCAST CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_ADMIN CAP_SYS_BOOT "
    "CAP_SYS_CHROOT CAP_SYS_NICE CAP_SYS_PTRACE CAP_SYS_RESOURCE CAP_SYS_TTY_CONFIG"
).split()

FOR_COMMANDS = frozenset(
    (
        "CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_BIND_SERVICE "
        "CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT"
    ).split()
)
"""What Docker grants: enough for the package managers and servers of a distribution, and nothing of the host's."""


def dropped(wanted: frozenset[str]) -> tuple[str, ...]:
    """Return what has to be dropped so that `wanted` remains."""
    return tuple(name for name in _GRANTED if name not in wanted)
