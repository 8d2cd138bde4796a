"""Volt as a library: everything that the command line can do, as one object."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from volt_core.config import Config
from volt_core.contracts import Store
from volt_core.models.extension import Check
from volt_core.paths import VoltPaths
from volt_core.plugins import Plugins

if TYPE_CHECKING:
    from volt_core.images.manager import Images
    from volt_core.workloads import Workloads


class Volt:
    """One instance of Volt.

    Parts are made when first used, so that a command pays for what it needs. Nothing is written before
    something is changed, but for the cache of plugins: asking for one finds them, and remembers where that is possible.

    Args:
        root: directory of an instance of its own; by default ``VOLT_ROOT``, else the system's or the user's.
        environ: environment to take settings from, by default the process's.
        flags: settings from a command line, which win over everything else; None means not given.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._flags = flags or {}
        self.paths = VoltPaths.find(root, self._environ)

    @functools.cached_property
    def config(self) -> Config:
        """The settings. Raises :class:`~volt_core.errors.InvalidConfig`."""
        return Config(self.paths, self._environ, self._flags)

    @functools.cached_property
    def plugins(self) -> Plugins:
        """The installed plugins."""
        return Plugins(self.paths.cache, self._environ)

    @functools.cached_property
    def store(self) -> Store:
        """The content-addressed store."""
        return self.plugins.store(self.config.values.store)(self.paths.store)

    @functools.cached_property
    def images(self) -> Images:
        """The images."""
        from volt_core.images.manager import Images

        return Images(lambda: self.store, self.plugins)

    @functools.cached_property
    def workloads(self) -> Workloads:
        """Containers, virtual machines and services."""
        from volt_core.workloads import Workloads

        return Workloads(self.paths, self.plugins, lambda: self.store, self.config.values.backend)

    def checks(self) -> list[Check]:
        """Carry out the checks of ``volt doctor``: the core's own, then those of the plugins."""
        from volt_core.health import core_checks
        from volt_core.workloads import folder_checks

        answers = self.plugins.call("volt_register_checks", paths=self.paths)
        own = [*core_checks(self.paths, self.plugins), *folder_checks(self.paths)]
        return [*own, *(check for answer in answers for check in answer)]
