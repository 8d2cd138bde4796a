"""Which plugins are installed: entry points of the group ``volt``, without importing any of them.

Reading the metadata of all installed distributions costs more than the whole rest of ``volt ps``, so
the answer is kept in a file, valid while no directory on ``sys.path`` has changed: installing or removing
a distribution adds or removes a ``.dist-info`` directory in one of them. The same file remembers what
each plugin provided when it was last loaded, so that a command imports only the plugins it needs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import zlib
from pathlib import Path

import msgspec

from volt_core import __version__, fs
from volt_core.models.extension import CommandGroup

GROUP = "volt"
_KEPT = 30 * 86400  # seconds


class Provides(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a plugin brought when it was loaded: names only."""

    hooks: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    commands: tuple[CommandGroup, ...] = ()


class PluginInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry point, as its distribution declares it."""

    name: str
    target: str
    """Import path of the plugin's module or object."""
    distribution: str
    version: str
    provides: Provides | None = None
    """None until it has been loaded once without fault."""

    @property
    def origin(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}"


class _Cache(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    plugins: tuple[PluginInfo, ...]


_decoder = msgspec.json.Decoder(_Cache)


def scan() -> tuple[PluginInfo, ...]:
    """Return the installed plugins, sorted by name, from the metadata of the distributions."""
    from importlib.metadata import entry_points

    found = {}
    for point in entry_points(group=GROUP):
        distribution = point.dist
        found[point.name, point.value] = PluginInfo(
            name=point.name,
            target=point.value,
            distribution=distribution.name if distribution else "unknown",
            version=distribution.version if distribution else "",
        )
    return tuple(found[key] for key in sorted(found))


class DiscoveryCache:
    """The file that remembers :func:`scan`; safe to delete, and useless rather than harmful if unwritable."""

    def __init__(self, folder: Path) -> None:
        # One file per environment: a system-wide Volt and one in a checkout may share their state.
        environment = "\n".join([sys.prefix, *sys.path]).encode("utf-8", "surrogateescape")
        self._path = folder / f"plugins-{zlib.crc32(environment):08x}.json"
        self._key = _environment_key()

    def read(self) -> tuple[PluginInfo, ...] | None:
        """Return what is remembered, or None if there is nothing or it is out of date."""
        try:
            cache = _decoder.decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return cache.plugins if cache.key == self._key else None

    def write(self, plugins: tuple[PluginInfo, ...]) -> None:
        """Remember; failing to is no error."""
        data = msgspec.json.encode(_Cache(key=self._key, plugins=plugins))
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fs.write_atomic(self._path, data, durable=False)
            self._remove_old()

    def _remove_old(self) -> None:
        """Remove the files of environments that are probably gone; one that is not makes its own again."""
        for path in self._path.parent.glob("plugins-*.json"):
            if time.time() - path.stat().st_mtime > _KEPT:
                path.unlink(missing_ok=True)


def _environment_key() -> str:
    """Return a text that changes when a distribution is installed, upgraded or removed."""
    parts = [__version__, sys.version]
    for entry in sys.path:
        with contextlib.suppress(OSError):
            parts.append(f"{entry}:{os.stat(entry or '.').st_mtime_ns}")
    return "\n".join(parts).encode("utf-8", "backslashreplace").decode()
