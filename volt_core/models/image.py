"""Images: a tree in the store, and how to run it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""``PATH`` of a payload whose image says nothing else."""


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """Defaults for running an image; field names and meanings are those of the OCI image configuration."""

    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    exposed_ports: Mapping[str, Mapping[str, str]] = {}
    volumes: Mapping[str, Mapping[str, str]] = {}
    stop_signal: str = ""
    labels: Mapping[str, str] = {}


class Image(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image as the store knows it."""

    name: str
    """``REPOSITORY:TAG``."""
    digest: str
    """Digest of the root of its tree."""
    created: int = 0
    """Nanoseconds since the epoch."""
    size: int = 0
    """Bytes of file content, each distinct file once."""
    files: int = 0
    source: str = ""
    """Where it came from, in a person's words."""
    config: ImageConfig = ImageConfig()
