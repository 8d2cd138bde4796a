"""A place to measure on: a fresh file system, or where that cannot be, a directory, and which of them it is.

A file system that has been in use for long creates files several times slower from one minute to the next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

KINDS = ("ext4", "xfs", "directory")


def default_kind() -> str:
    """Return ``ext4`` where it can be mounted, else ``directory``."""
    return "ext4" if can_mount() else "directory"


def where(kind: str) -> str:
    """Say what kind of place it is."""
    if kind == "directory":
        return "a DIRECTORY of a file system in use: believe the ratios, and those with caution"
    return f"a fresh {kind} image per round (loop device, direct I/O)"


def can_mount() -> bool:
    """Tell whether a file system can be made and mounted here."""
    return os.geteuid() == 0 and shutil.which("mkfs.ext4") is not None and os.path.exists("/dev/loop-control")


def _unmount(target: Path) -> None:
    """Unmount; after Ctrl-C what was being timed may need a moment to end, and if it takes longer it is let go."""
    for _ in range(50):
        if subprocess.run(["umount", "--", str(target)], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", "--", str(target)], check=True)


@contextlib.contextmanager
def fresh(kind: str, megabytes: int, *, below: Path | None = None) -> Iterator[Path]:
    """Give a fresh file system of `kind` (``ext4``, ``xfs``), or for ``directory`` a new directory below `below`.

    The image is a sparse file on a loop device with direct I/O, so that its pages are cached once and not twice.
    ext4 gets an inode for each 8 KiB, since corpora of small files need more than it makes by default, and no
    thread that writes empty inode tables beside what is measured.
    """
    with tempfile.TemporaryDirectory(prefix="volt-bench-", dir=below) as name:
        if kind == "directory":
            yield Path(name)
            return
        image, target = Path(name, "image"), Path(name, "mnt")
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        target.mkdir()
        attach = ["losetup", "--find", "--show", "--direct-io=on", "--", str(image)]
        device = subprocess.run(attach, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        try:
            ext4 = kind == "ext4"
            subprocess.run([f"mkfs.{kind}", "-q", *(["-i", "8192"] if ext4 else []), device], check=True)
            options = ["-o", "noinit_itable"] if ext4 else []
            subprocess.run(["mount", *options, "--", device, str(target)], check=True)
            try:
                yield target
            finally:
                _unmount(target)
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)
