"""The root file system: an overlay above the store's own tree, and paths inside that nothing leads out of."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from volt_core import run
from volt_core.errors import InvalidSpec, VoltError

_SECONDS: Final = 10.0
_MAX_LINKS: Final = 40


def can_overlay(folder: Path) -> bool:
    """Try whether an overlay with ``upper`` and ``work`` of `folder` can be mounted at ``rootfs`` there."""
    options, unshare = "lowerdir=rootfs,upperdir=upper,workdir=work", ["unshare", "--mount"]
    try:
        if os.geteuid() != 0:
            options, unshare = f"{options},userxattr", ["unshare", "--user", "--map-root-user", "--mount"]
            # Without these it can be mounted, and directories of the image cannot be replaced.
            os.setxattr(folder / "work", "user.volt", b"")
        run.run([*unshare, "mount", "-t", "overlay", "-o", options, "overlay", "rootfs"], timeout=_SECONDS, cwd=folder)
    except (OSError, VoltError):
        return False
    return True


def copy_owner_and_mode(source: Path, target: Path) -> None:
    """Give `target`, the upper part of a root, what the image says of the root itself."""
    info = source.stat()
    target.chmod(stat.S_IMODE(info.st_mode))
    if os.geteuid() == 0:
        os.chown(target, info.st_uid, info.st_gid)


def resolve(layers: Sequence[Path], path: str) -> str:
    """Return `path` of the container without symlinks; those of `layers`, uppermost first, are followed inside.

    bwrap would follow them while the host's files are still within reach. Raises :class:`InvalidSpec` for a loop.
    """
    done: list[str] = []
    rest = path.split("/")
    links = 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            done = done[:-1]
        elif part not in ("", "."):
            link = _find_link(layers, [*done, part])
            if link is None:
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise InvalidSpec(f"Too many symlinks in the image at '{path}'")
            done = [] if link.startswith("/") else done
            rest = link.split("/") + rest
    return "/" + "/".join(done)


def _find_link(layers: Sequence[Path], parts: Sequence[str]) -> str | None:
    for layer in layers:
        place = layer.joinpath(*parts)
        if place.is_symlink():
            return os.readlink(place)
        if os.path.lexists(place):
            return None
    return None
