"""Containers in test hosts, as somebody sees them who stands outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from volt_core.testing.hosts.machine import Host

_MAKE_TREE = """
from pathlib import Path
from volt_core.testing.roots import make_busybox_root
make_busybox_root(Path("/root/box"))
"""
# Where containers leave something; the index is written anew by each command.
_FOLDERS = (
    *("/etc/systemd/system", "/etc/systemd/nspawn", "/run/systemd/system", "/run/systemd/transient"),
    *("/var/lib/volt/containers", "/var/lib/volt/locks", "/var/lib/volt/cas/refs/use", "/run/volt"),
)
# Made by the first container that is started after a boot.
_PASSING = "/run/volt/containers"


class Box:
    """A host that has the image ``box`` and no container."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.run("python", "-c", _MAKE_TREE)
        self.volt("image", "import", "--quiet", "/root/box", "box")
        # The first one brings what stays.
        self.volt("run", "--name", "first", "box", "true")
        self.volt("delete", "first")

    def volt(self, *words: str) -> str:
        """Run volt, insist on success, and return what it printed."""
        return self.host.text("volt", *words)

    def restart(self) -> None:
        """Cut the power and switch it on again."""
        self.host.cut_power()
        self.host.boot()

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state of each container by its name."""
        names = self.volt("ps", "--all", "--quiet").split()
        items = json.loads(self.volt("inspect", *names))["items"] if names else []
        return {item["name"]: item["state"] for item in items}

    def is_active(self, name: str) -> bool:
        """Tell whether systemd has the container's unit as active."""
        return self.host.text("systemctl", "is-active", f"volt-container-{name}", ok=range(256)) == "active"

    def traces(self) -> set[str]:
        """Return files, units, machines and mounts of containers; what a killed write left in the store is for gc."""
        found = self.host.text("find", *_FOLDERS, ok=(0, 1)).splitlines()
        found += self.host.text("systemctl", "list-units", "--all", "--plain", "--no-legend", "volt-*").splitlines()
        found += self.host.text("machinectl", "list", "--no-legend").splitlines()
        found += self.host.text("grep", "/containers/", "/proc/self/mounts", ok=(0, 1)).splitlines()
        return {line for line in found if line != _PASSING and not (line.endswith(".tmp") and "/cas/" in line)}


@pytest.fixture
def make_box(make_host: Callable[[str], Host]) -> Callable[[str], Box]:
    """Boot a host of a suite of which nobody else knows, with an image."""
    return lambda suite: Box(make_host(suite))
