"""What a virtual machine needs beside the tree of a host: a kernel, and an initrd that mounts the tree as its root.

Both come from Debian's packages, by the mirrors of this machine's apt. They are made once and kept.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from volt_core import run
from volt_core.testing import roots
from volt_core.testing.hosts.base import bootstrap

_PACKAGES = ("linux-image-cloud-amd64", "busybox-static")
ROOT_TAG = "volt"
"""What the machine calls the file system that becomes its root."""
_MODULES = ("virtio_pci", "virtiofs", "virtio_console", "overlay")
"""What is not built into the kernel: nothing loads modules later, since the tree has no program for it."""
_INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
while read -r name; do /bin/busybox insmod "/modules/$name"; done </modules/order
/bin/busybox mount -t virtiofs {ROOT_TAG} /root && /bin/busybox mount -t tmpfs -o mode=1777 tmp /root/tmp &&
    exec /bin/busybox switch_root /root /lib/systemd/systemd
/bin/busybox poweroff -f
"""


class Kernel(NamedTuple):
    """The files that a machine is started with."""

    image: Path
    initrd: Path


def make_kernel(suite: str, cache: Path) -> Kernel:
    """Return the kernel of a suite; made on first use, which takes some seconds and a mirror.

    Two test runs may ask at once.
    """
    key = hashlib.sha256(repr((_PACKAGES, _MODULES, _INIT)).encode()).hexdigest()[:16]
    kept = cache / f"{suite}.kernel-{key}"
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with roots.locked(cache / f"{suite}.kernel.lock"):
        if not kept.is_dir():
            with tempfile.TemporaryDirectory(prefix=".kernel-", dir=cache) as folder:
                _make(suite, Path(folder)).rename(kept)
    return Kernel(kept / "vmlinuz", kept / "initrd")


def load_order(dependencies: str, names: Iterable[str]) -> list[str]:
    """Return the files of modules and of all that they need, in the order in which they can be loaded.

    Args:
        dependencies: text of a ``modules.dep``, where a module's needs stand with the last to load first.
        names: modules, as ``virtio_pci``. Raises KeyError for one that is not there.
    """
    lines = (line.partition(":") for line in dependencies.splitlines())
    needs = {Path(file).name.partition(".")[0].replace("-", "_"): (file, rest.split()) for file, _, rest in lines}
    found: dict[str, None] = {}
    for name in names:
        file, needed = needs[name]
        found |= dict.fromkeys([*reversed(needed), file])
    return list(found)


def _make(suite: str, folder: Path) -> Path:
    tree, made, initrd = folder / "tree", folder / "made", folder / "initrd"
    bootstrap(suite, _PACKAGES, tree, variant="extract")
    (modules,) = (tree / "lib/modules").iterdir()
    # Unpacked alone: the list that the package makes when it is installed is not there.
    run.run(["chroot", str(tree), "/sbin/depmod", modules.name], timeout=60)
    for name in ("bin", "dev", "modules", "root"):
        (initrd / name).mkdir(parents=True)
    shutil.copy(tree / "bin/busybox", initrd / "bin")
    order = [modules / file for file in load_order((modules / "modules.dep").read_text(), _MODULES)]
    for file in order:
        shutil.copy(file, initrd / "modules")
    (initrd / "modules/order").write_text("".join(f"{file.name}\n" for file in order))
    (initrd / "init").write_text(_INIT)
    (initrd / "init").chmod(0o755)
    made.mkdir()
    shutil.copy(tree / f"boot/vmlinuz-{modules.name}", made / "vmlinuz")
    (made / "initrd").write_bytes(_archive(initrd))
    return made


def _archive(folder: Path) -> bytes:
    names = "".join(f"{path.relative_to(folder)}\n" for path in sorted(folder.rglob("*")))
    return run.run(["busybox", "cpio", "-o", "-H", "newc"], timeout=60, stdin=names.encode(), cwd=folder).stdout
