"""The static programs that units call: copied out of the installation, so that a unit outlives it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from volt_core import fs, native
from volt_core.errors import BackendUnavailable
from volt_core.paths import VoltPaths

PROGRAMS = ("enter", "init", "outcome", "rootfs")
_DIGEST_LENGTH = 16
_LOCK = "libexec"


def have_programs() -> bool:
    """Tell whether this installation could build them."""
    return all(native.program(name) is not None for name in PROGRAMS)


def programs_folder(paths: VoltPaths) -> Path:
    """Return where the programs of this installation are, or would be; raises FileNotFoundError if it has none."""
    return _folder(paths) / _digest()


def install_programs(paths: VoltPaths) -> Path:
    """Copy the programs, unless they are there, and return their folder. It appears whole or not at all.

    Raises :class:`BackendUnavailable` where the file system lets nobody execute them.
    """
    target = programs_folder(paths)
    if not _is_whole(target):
        with fs.lock(paths.locks / _LOCK):
            if not _is_whole(target):
                _install(target)
    if os.statvfs(target).f_flag & os.ST_NOEXEC:
        raise BackendUnavailable(
            f"Programs in '{target}' cannot be executed: that file system is mounted with noexec",
            hint="Mount it without noexec, or use an instance elsewhere: --root DIR.",
        )
    return target


def _is_whole(folder: Path) -> bool:
    """Tell whether all programs are there; their content is not read again each time."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = {name: (folder / name).stat() for name in PROGRAMS}
        return all(it.st_mode & 0o555 == 0o555 and it.st_size == _size(name) for name, it in found.items())
    return False


def _install(target: Path) -> None:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # init is executed inside containers, whose users are not root.
    target.parent.chmod(0o755)
    fresh = target.with_name(f".{target.name}.new")
    fs.remove_tree(fresh)
    fresh.mkdir(mode=0o755)
    for name in PROGRAMS:
        shutil.copyfile(_source(name), fresh / name)
        (fresh / name).chmod(0o755)
    _sync(fresh)
    if target.is_dir():
        # A damaged one, of which units may be using the rest at this moment.
        for name in PROGRAMS:
            (fresh / name).rename(target / name)
        target.chmod(0o755)
        fresh.rmdir()
        fs.sync_directory(target)
    else:
        fresh.rename(target)
        fs.sync_directory(target.parent)


def prune_programs(paths: VoltPaths, units: Iterable[str]) -> None:
    """Remove the programs that none of the `units`, by their texts, names; those of this installation stay."""
    named = {match for text in units for match in re.findall(r"/libexec/([0-9a-f]{16})/", text)}
    with fs.lock(paths.locks / _LOCK):
        for folder in _folder(paths).glob("*"):
            if folder.name not in named and folder != programs_folder(paths):
                shutil.rmtree(folder, ignore_errors=True)


def _folder(paths: VoltPaths) -> Path:
    return paths.lib / "libexec"


def _source(name: str) -> Path:
    path = native.program(name)
    if path is None:
        raise FileNotFoundError(f"this installation has no program '{name}'")
    return path


def _size(name: str) -> int:
    return _source(name).stat().st_size


def _digest() -> str:
    stats = {name: _source(name).stat() for name in PROGRAMS}
    return _digest_of(tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()))


@functools.lru_cache(maxsize=1)
def _digest_of(_versions: tuple[tuple[str, int, int, int], ...]) -> str:
    total = hashlib.sha256()
    for name in PROGRAMS:
        total.update(hashlib.sha256(_source(name).read_bytes()).digest())
    return total.hexdigest()[:_DIGEST_LENGTH]


def _sync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
