"""Images: trees in the store with a name and a way to run them, and the sources they come from."""

from volt_core.images.manager import Images

__all__ = ["Images"]
