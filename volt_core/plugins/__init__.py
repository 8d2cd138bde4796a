"""Finding plugins, loading them one by one, and knowing which one provides what."""

from volt_core.plugins.registry import Plugins

__all__ = ["Plugins"]
