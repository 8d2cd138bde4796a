"""Hooks of compose."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.contracts import ComposeSection
from volt_core.hookspecs.markers import hookspec


@hookspec
def volt_register_compose_sections() -> Iterable[type[ComposeSection]]:  # type: ignore[empty-body]
    """Return the classes for the top-level keys of a compose file that this plugin owns.

    Collecting hook, called once after the plugin is loaded.

    .. versionadded:: 0.1
    """
