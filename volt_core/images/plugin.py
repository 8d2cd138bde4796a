"""The image sources that the core brings; registered like those of any plugin."""

from __future__ import annotations

from collections.abc import Iterable

from volt_core.contracts import ImageSource
from volt_core.hookspecs import hookimpl
from volt_core.images.bootstrap import BootstrapSource

VOLT_API_VERSION = (0, 1)


@hookimpl
def volt_register_image_sources() -> Iterable[type[ImageSource]]:
    """Debian and Ubuntu by bootstrap; archives and directories are what :meth:`Images.import_` takes."""
    return [BootstrapSource]
