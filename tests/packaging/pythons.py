"""Interpreters of other versions: those of this machine, else one from Debian's packages of the day."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from volt_core.images.mirrors import distribution_sources, host_sources, mirror_lines, os_release
from volt_core.testing import host, pythons

from .conftest import call


@dataclass(frozen=True)
class Python:
    """How an interpreter is started."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str | Path, **extra: str) -> str:
        """Run it; what it said, on both streams."""
        return call([*self.argv, *arguments], **self.environment, **extra)


def find_python(version: str, scratch: Path) -> Python:
    """Return an interpreter of this version, like ``3.12``; without one, the host lacks ``pythons``."""
    if (found := pythons.find(version)) is not None:
        return Python([found])
    host.require("pythons")
    return python_of_debian(version, scratch / "tree")


def python_of_debian(version: str, tree: Path) -> Python:
    """Unpack the packages of the day, with their C library, and start what is in them from outside."""
    lines = mirror_lines(
        "sid", os_release().get("VERSION_CODENAME", ""), distribution_sources(host_sources(), "debian")
    )
    packages = f"--include=python{version}-minimal,libpython{version}-stdlib"
    # A mirror that is some weeks late is as good.
    late = '--aptopt=Acquire::Check-Valid-Until "false"'
    argv = ["mmdebstrap", "--quiet", "--variant=extract", "--mode=root", late, packages, "sid", str(tree), *lines]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        host.lack("pythons", f"there is no Python {version}, nor from Debian: {done.stderr.strip().splitlines()[-1:]}")
    (loader,) = tree.glob("usr/lib*/ld-linux-*.so.*")
    libraries = ":".join(str(path) for path in tree.glob("usr/lib/*-linux-gnu"))
    return Python(
        [str(loader), "--library-path", libraries, str(tree / f"usr/bin/python{version}")],
        {"PYTHONHOME": str(tree / "usr")},
    )
