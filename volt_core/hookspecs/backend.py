"""Hooks of backends."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.contracts import Backend
from volt_core.hookspecs.markers import hookspec


@hookspec
def volt_register_backends() -> Iterable[type[Backend]]:  # type: ignore[empty-body]
    """Return the backend classes that this plugin provides.

    Collecting hook, called once after the plugin is loaded; order has no meaning. A missing tool is
    no error here: say so in :meth:`Backend.probe`.

    .. versionadded:: 0.1
    """
