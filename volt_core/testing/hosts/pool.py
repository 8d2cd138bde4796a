"""The hosts of a test session, and what the project says of them in its pytest settings."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from volt_core.testing import roots
from volt_core.testing.hosts import VIRTUAL, VIRTUAL_SUITE
from volt_core.testing.hosts.base import PACKAGES, make_base
from volt_core.testing.hosts.kernel import make_kernel
from volt_core.testing.hosts.machine import Host
from volt_core.testing.hosts.site import make_site
from volt_core.testing.hosts.virtual import VirtualHost

SOURCE = "/src"
"""Where a host has the repository, read-only."""
DEBIAN = "/srv/debian"
"""Where a host has a Debian tree of its own suite, with systemd, to make images of; read-only."""
_HOSTS = pytest.StashKey["Hosts"]()
_SOURCES_INI = "volt_host_sources"
_REQUIREMENTS_INI = "volt_host_requirements"
_COVERAGE = "COVERAGE_PROCESS_START"
_COVERAGE_FILE = "COVERAGE_FILE"
_COVERAGE_FOLDER = "/var/lib/volt-coverage"
CACHE = roots.cache_directory() / "hosts"  # before HOME is another


def add_options(parser: pytest.Parser) -> None:
    """Add the settings that say what is installed in hosts."""
    parser.addini(_SOURCES_INI, "Source trees whose wheels are installed in test hosts.", type="args", default=[])
    parser.addini(_REQUIREMENTS_INI, "What else pip installs in test hosts.", type="args", default=["pytest"])


def is_set_up(config: pytest.Config) -> bool:
    """Tell whether the settings say what to install in hosts."""
    return bool(config.getini(_SOURCES_INI))


def of_session(config: pytest.Config) -> Hosts:
    """Return the hosts that a test session shares; they are gone when it has ended."""
    if _HOSTS not in config.stash:
        hosts = Hosts(config.rootpath, config.getini(_SOURCES_INI), config.getini(_REQUIREMENTS_INI))
        config.stash[_HOSTS] = hosts
        config.add_cleanup(hosts.close)
    return config.stash[_HOSTS]


def of_repository(root: Path) -> Hosts:
    """Return hosts for use outside of pytest; what its settings say of them stands in ``pyproject.toml``."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    return Hosts(root, settings[_SOURCES_INI], settings[_REQUIREMENTS_INI])


class Hosts:
    """Makes hosts on which the wheels of a repository are installed, as they would be for a user.

    Args:
        root: the repository, which the hosts see too.
        sources, requirements: see :func:`~volt_core.testing.hosts.site.make_site`.

    Where the coverage of this process is measured (``COVERAGE_PROCESS_START``), so is that of Volt in the hosts, and
    what is found is written beside this process's own data.
    """

    def __init__(self, root: Path, sources: Sequence[str], requirements: Sequence[str]) -> None:
        self._root = root
        self._sources = sources
        self._requirements = requirements
        self._shared: dict[str, Host] = {}
        self._virtual: list[VirtualHost] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._number = 0

    def make(self, suite: str, packages: tuple[str, ...] = PACKAGES) -> Host:
        """Return a new host with these packages, not yet booted; whoever asked destroys it."""
        layers, binds, writable = self._trees(suite, packages)
        return Host(self._next_folder(suite), layers, suite, binds=binds, writable=writable, env=_environment())

    def virtual(self) -> VirtualHost:
        """Return a new host that is a virtual machine, of the suite :data:`VIRTUAL`; it goes with the others."""
        layers, binds, writable = self._trees(VIRTUAL_SUITE, PACKAGES)
        kernel, folder = make_kernel(VIRTUAL_SUITE, CACHE), self._next_folder(VIRTUAL)
        host = VirtualHost(folder, layers, VIRTUAL, kernel, binds=binds, writable=writable, env=_environment())
        self._virtual.append(host)
        return host

    def shared(self, suite: str) -> Host:
        """Return the one host of a suite that all tests share which leave it as it was, booted."""
        if suite not in self._shared:
            self._shared[suite] = self.make(suite)
        return self._shared[suite].boot()

    def close(self) -> None:
        """Take the shared hosts away, and the virtual ones."""
        while self._shared:
            self._shared.popitem()[1].destroy()
        while self._virtual:
            self._virtual.pop().destroy()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _trees(self, suite: str, packages: tuple[str, ...]) -> tuple[list[Path], dict[str, Path], dict[str, Path]]:
        """Return the layers of a host, and what it sees of this machine: read-only, and to be written to."""
        base = make_base(suite, CACHE, packages)
        site = make_site(base, self._root, self._sources, self._requirements, CACHE)
        coverage = _coverage_file()
        writable = {_COVERAGE_FOLDER: coverage.parent} if coverage else {}
        return [site, base], {SOURCE: self._root, DEBIAN: base}, writable

    def _next_folder(self, suite: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="volt-hosts-")
        self._number += 1
        return Path(self._folder.name, f"{suite}-{self._number}")


def _coverage_file() -> Path | None:
    """Return where this process, if its coverage is measured, writes what it finds; other processes' names begin so."""
    return Path(os.environ.get(_COVERAGE_FILE, ".coverage")).absolute() if _COVERAGE in os.environ else None


def _environment() -> dict[str, str]:
    """Return what every process of a host finds in its environment."""
    found = {name: value for name, value in os.environ.items() if name.startswith("VOLT_TEST_")}
    if file := _coverage_file():
        found |= {_COVERAGE: f"{SOURCE}/pyproject.toml", _COVERAGE_FILE: f"{_COVERAGE_FOLDER}/{file.name}"}
    return found
