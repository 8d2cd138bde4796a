"""Interpreters of other versions: those of this machine, else one from Debian's packages of the day."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from volt_core.images.mirrors import distribution_sources, host_sources, mirror_lines, os_release
from volt_core.testing import host

from .conftest import call, clean_environment


@dataclass(frozen=True)
class Python:
    """How an interpreter is started."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str | Path, **extra: str) -> str:
        """Run it; what it said, on both streams."""
        return call([*self.argv, *arguments], **self.environment, **extra)


def find_python(version: str, scratch: Path) -> Python:
    """Return an interpreter of this version, like ``3.12``; without one, skip the test."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    found = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}")))]
    for path in found:
        if path is not None and is_usable(path, version):
            return Python([path])
    host.require("mmdebstrap")
    host.require("root")
    return python_of_debian(version, scratch / "tree")


def is_usable(path: str, version: str) -> bool:
    """Whether it starts and has what Volt needs: pyenv leaves commands that do not."""
    code = f"import ssl, sqlite3, sys; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
    done = subprocess.run([path, "-c", code], env=clean_environment(), cwd="/", capture_output=True, check=False)
    return done.returncode == 0


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
        pytest.skip(f"no Python {version} here, and none from Debian: {done.stderr.strip().splitlines()[-1:]}")
    (loader,) = tree.glob("usr/lib*/ld-linux-*.so.*")
    libraries = ":".join(str(path) for path in tree.glob("usr/lib/*-linux-gnu"))
    return Python(
        [str(loader), "--library-path", libraries, str(tree / f"usr/bin/python{version}")],
        {"PYTHONHOME": str(tree / "usr")},
    )
