"""Hooks of the command line and of ``volt doctor``."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.hookspecs.markers import hookspec
from volt_core.models.extension import Check, CommandGroup
from volt_core.paths import VoltPaths


@hookspec
def volt_register_commands() -> Iterable[CommandGroup]:  # type: ignore[empty-body]
    """Return command groups as import paths; a group is imported only when it is called.

    Collecting hook, called once after the plugin is loaded.

    .. versionadded:: 0.1
    """


@hookspec
def volt_register_checks(paths: VoltPaths) -> Iterable[Check]:  # type: ignore[empty-body]
    """Return what ``volt doctor`` should say about this plugin on this host, each check already carried out.

    Collecting hook, called by ``volt doctor`` only. A check is quick and changes nothing.

    .. versionadded:: 0.1
    """
