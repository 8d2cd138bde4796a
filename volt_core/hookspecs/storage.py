"""Hooks of stores and image sources."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.contracts import ImageSource, Store
from volt_core.hookspecs.markers import hookspec


@hookspec
def volt_register_stores() -> Iterable[type[Store]]:  # type: ignore[empty-body]
    """Return the store classes that this plugin provides.

    Collecting hook, called once after the plugin is loaded.

    .. versionadded:: 0.1
    """


@hookspec
def volt_register_image_sources() -> Iterable[type[ImageSource]]:  # type: ignore[empty-body]
    """Return the classes that fetch images, each with the schemes it owns.

    Collecting hook, called once after the plugin is loaded.

    .. versionadded:: 0.1
    """
