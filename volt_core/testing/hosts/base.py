"""Debian trees that boot fast under systemd-nspawn: made by mmdebstrap once, then kept and never written to."""

from __future__ import annotations

import hashlib
from pathlib import Path

from volt_core import fs, run
from volt_core.images.mirrors import distribution_sources, host_sources, mirror_lines, os_release
from volt_core.testing import roots

PACKAGES = (
    "busybox-static",
    "dbus",
    "iproute2",
    "libnss-mymachines",
    "nftables",
    "procps",
    "python3",
    "python3-venv",
    "systemd",
    "systemd-container",
    "systemd-sysv",
    "util-linux",
)
_RECIPE = "1"
"""Raised whenever :func:`_customise` changes."""
_TIME_LIMIT = 900.0
# What a host in a container waits for in vain, or has no use for: with these the boot takes five seconds.
_MASKED = (
    "apt-daily-upgrade.timer apt-daily.timer console-getty.service dev-hugepages.mount dpkg-db-backup.timer "
    "e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@.service modprobe@.service sys-kernel-config.mount "
    "sys-kernel-debug.mount sys-kernel-tracing.mount systemd-firstboot.service systemd-modules-load.service "
    "systemd-networkd-wait-online.service systemd-pstore.service"
).split()
_FILES = {
    "etc/systemd/journald.conf.d/host.conf": (
        "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nForwardToConsole=no\n"
    ),
    "etc/systemd/system.conf.d/host.conf": "[Manager]\nDefaultTimeoutStopSec=20s\n",
    # Empty: the first boot writes an id of its own.
    "etc/machine-id": "",
    "etc/resolv.conf": "",
}


def make_base(suite: str, cache: Path, packages: tuple[str, ...] = PACKAGES) -> Path:
    """Return the tree of a suite; made on first use, which takes half a minute and a mirror.

    Mirrors are those of this machine's apt, or the tool's default. Two test runs may ask at once.
    """
    key = hashlib.sha256("\n".join([suite, _RECIPE, *packages]).encode()).hexdigest()[:16]
    tree = cache / f"{suite}-{key}"
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with roots.locked(cache / f"{suite}.lock"):
        if not tree.is_dir():
            fresh = cache / f".{tree.name}.new"
            if fresh.exists():
                fs.remove_tree(fresh)
            bootstrap(suite, packages, fresh)
            _customise(fresh)
            fresh.rename(tree)
    return tree


def bootstrap(suite: str, packages: tuple[str, ...], target: Path, *, variant: str = "minbase") -> None:
    """Make a tree of a suite with these packages and all that they need; see ``--variant`` of mmdebstrap."""
    sources = distribution_sources(host_sources(), "debian")
    lines = mirror_lines(suite, os_release().get("VERSION_CODENAME", ""), sources)
    options = [f"--variant={variant}", "--mode=root", f"--include={','.join(packages)}"]
    run.run(["mmdebstrap", *options, suite, str(target), *lines], timeout=_TIME_LIMIT)


def _customise(tree: Path) -> None:
    for name, text in _FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    (tree / "etc/hostname").unlink(missing_ok=True)
    units = tree / "etc/systemd/system"
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
