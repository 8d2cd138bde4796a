"""Device nodes that an image brings along open nothing of the host's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_core.testing.command import Command

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

NODES = {
    "loop0": (stat.S_IFBLK, 7, 0),
    "loop-control": (stat.S_IFCHR, 10, 237),
    "device-mapper0": (stat.S_IFBLK, 253, 0),
    "device-mapper": (stat.S_IFCHR, 10, 236),
    "memory": (stat.S_IFCHR, 1, 1),
}


def add_nodes(tree: Path) -> None:
    for name, (kind, major, minor) in NODES.items():
        os.mknod(tree / name, kind | 0o666, os.makedev(major, minor))


def test_nodes_of_an_image_open_nothing(volt: Command, make_image: Callable[..., str]) -> None:
    image = make_image(add_nodes)
    for name in NODES:
        done = volt.process("run", "--rm", image, "busybox", "head", "-c", "1", f"/{name}")
        assert (done.returncode, done.stdout) == (1, b""), name
        assert b"Operation not permitted" in done.stderr
