"""What a container sees of the host: system directories, network files, and the mounts that were asked for.

proot itself cannot bind read-only. What must be read-only is bound so in a mount namespace around proot, at
places in the container's folder, and proot takes it from there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from volt_core.errors import InvalidSpec
from volt_core.models.mount import Mount
from volt_core.models.workload import ContainerSpec
from volt_core.supervisor.backend import PrivateMount, write_network_files
from volt_proot.argv import Bind

ROOT: Final = "rootfs"
TEMPORARY: Final = "tmp"
"""Where proot keeps files of its own."""
_SYSTEM: Final = ("/dev", "/proc", "/sys")
_NETWORK_FILES: Final = ("resolv.conf", "hosts", "hostname")
_WRITABLE: Final = ("/tmp", "/run", "/var/tmp")  # noqa: S108  -- paths of the container, not ours
"""Stay writable, empty and in memory, when the root is read-only."""


class Layout(NamedTuple):
    """What proot binds, and what is mounted before it starts."""

    binds: list[Bind]
    mounts: list[PrivateMount]


def plan_layout(folder: Path, spec: ContainerSpec) -> Layout:
    """Say what the container in `folder` sees. Pure."""
    binds = [Bind(path, path) for path in _SYSTEM]
    binds += [Bind(str(folder / "etc" / name), f"/etc/{name}") for name in _NETWORK_FILES]
    mounts: list[PrivateMount] = []
    if spec.read_only:
        root = str(folder / ROOT)
        mounts.append(PrivateMount(type="bind-ro", source=root, target=root))
        for number, path in enumerate(_WRITABLE):
            place = str(_place(folder, "tmp", number))
            mounts.append(PrivateMount(type="tmpfs", target=place))
            binds.append(Bind(place, path))
    for number, mount in enumerate(spec.mounts):
        source = mount.source
        if mount.read_only:
            source = str(_place(folder, "mount", number))
            mounts.append(PrivateMount(type="bind-ro", source=mount.source, target=source))
        binds.append(Bind(source, mount.target))
    return Layout(binds, mounts)


def prepare_layout(folder: Path, spec: ContainerSpec, hostname: str) -> None:
    """Make the files and mount points that :func:`plan_layout` names; afresh at each start.

    Raises :class:`InvalidSpec` if a source is missing.
    """
    for mount in spec.mounts:
        _check_source(mount)
    for parent in ("places", TEMPORARY):
        (folder / parent).mkdir(exist_ok=True)
    write_network_files(folder, hostname)
    if spec.read_only:
        for number in range(len(_WRITABLE)):
            _place(folder, "tmp", number).mkdir(exist_ok=True)
    for number, mount in enumerate(spec.mounts):
        if mount.read_only:
            _make_place(_place(folder, "mount", number), is_directory=os.path.isdir(mount.source))


def _place(folder: Path, kind: str, number: int) -> Path:
    return folder / "places" / f"{kind}-{number}"


def _make_place(place: Path, *, is_directory: bool) -> None:
    """Make a mount point of the right type; the source may have changed its own since the last start."""
    if place.exists() and place.is_dir() != is_directory:
        place.rmdir() if place.is_dir() else place.unlink()
    if is_directory:
        place.mkdir(exist_ok=True)
    else:
        place.touch()


def _check_source(mount: Mount) -> None:
    if not os.path.exists(mount.source):
        raise InvalidSpec(f"Mount source '{mount.source}' does not exist", hint="Create it, or correct the path.")
    if ":" in mount.target or mount.target.endswith("!"):
        raise InvalidSpec(f"proot cannot mount at '{mount.target}'", hint="Choose a target without ':' and '!'.")
