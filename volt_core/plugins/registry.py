"""Which plugin provides what; imports a plugin when something of it is asked for, and not before."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import pluggy

from volt_core import __version__
from volt_core.contracts import Backend, ComposeSection, ImageSource, Store
from volt_core.errors import BackendUnavailable, PluginClash, StoreError, UsageError, VoltError
from volt_core.models.extension import CommandGroup
from volt_core.plugins.discovery import DiscoveryCache, PluginInfo, Provides, scan
from volt_core.plugins.loader import Failure, Loaded, call, describe, load
from volt_core.plugins.manager import build_manager

_T = TypeVar("_T")

BUILTIN: Final = (
    PluginInfo(name="core", target="volt_core.images.plugin", distribution="volt-core", version=__version__),
)
"""Plugins that the core itself brings; they go the same way as all others."""


class Plugins:
    """The installed plugins of this environment.

    Args:
        cache: folder for the discovery cache.
        environ: for ``VOLT_DISABLE_PLUGINS`` (names, comma separated) and ``VOLT_TRACE_HOOKS``.
        builtin: plugins that need no entry point.
        discover: how to find the others; by default from installed distributions.
    """

    def __init__(
        self,
        cache: Path,
        environ: Mapping[str, str] | None = None,
        *,
        builtin: Iterable[PluginInfo] = BUILTIN,
        discover: Callable[[], tuple[PluginInfo, ...]] = scan,
    ) -> None:
        environ = os.environ if environ is None else environ
        disabled = environ.get("VOLT_DISABLE_PLUGINS", "").split(",")
        self._disabled = frozenset(filter(None, (name.strip() for name in disabled)))
        self._trace = bool(environ.get("VOLT_TRACE_HOOKS"))
        self._cache = DiscoveryCache(cache)
        self._builtin = tuple(builtin)
        self._discover = discover
        self._infos: dict[str, PluginInfo] | None = None
        self._manager: pluggy.PluginManager | None = None
        self._loaded: dict[str, Loaded | Failure] = {}
        self._faults: list[Failure] = []
        # Loading is for one thread at a time; a plugin that is being loaded may ask for others.
        self._lock = threading.RLock()

    @property
    def disabled(self) -> frozenset[str]:
        """Names that ``VOLT_DISABLE_PLUGINS`` switches off."""
        return self._disabled

    def infos(self) -> Mapping[str, PluginInfo]:
        """Return the enabled plugins by name, without importing any."""
        with self._lock:
            if self._infos is None:
                remembered = self._cache.read()
                if remembered is None:
                    remembered = _distinct((*self._builtin, *self._discover()))
                    self._cache.write(remembered)
                self._infos = {info.name: info for info in remembered if info.name not in self._disabled}
            return self._infos

    def load(self, name: str) -> Loaded | Failure:
        """Import one plugin, once."""
        with self._lock:
            if name not in self._loaded:
                if self._manager is None:
                    self._manager = build_manager(trace=self._trace)
                self._loaded[name] = load(self.infos()[name], self._manager)
            return self._loaded[name]

    def load_all(self) -> Mapping[str, Loaded | Failure]:
        """Import every plugin and remember what each provides."""
        with self._lock:
            for name in self.infos():
                self.load(name)
            self._remember()
            return dict(self._loaded)

    def backend(self, name: str) -> type[Backend]:
        """Return the backend class of that name.

        Raises :class:`BackendUnavailable` if no plugin has it, :class:`PluginBroken` if the one that had it
        does not load, :class:`PluginClash` if two have it.
        """
        return self._one("backend", name, lambda it: it.backends, lambda cls: (cls.NAME,), lambda it: it.backends)

    def backends(self) -> Mapping[str, type[Backend]]:
        """Return all backend classes by name, sorted; those of broken plugins are absent, and so are doubles."""
        found: dict[str, list[type[Backend]]] = {}
        for loaded in self._those_with(lambda provides: provides.backends):
            for backend in loaded.backends:
                found.setdefault(backend.NAME, []).append(backend)
        return {name: only for name, (only, *others) in sorted(found.items()) if not others}

    def store(self, name: str) -> type[Store]:
        """Return the store class of that name. Raises :class:`StoreError` and as :meth:`backend`."""
        return self._one("store", name, lambda it: it.stores, lambda cls: (cls.NAME,), lambda it: it.stores)

    def image_source(self, scheme: str) -> type[ImageSource]:
        """Return the class that fetches images of that scheme. Raises :class:`UsageError` if there is none."""
        return self._one("image source", scheme, lambda it: it.sources, lambda cls: cls.SCHEMES, lambda it: it.schemes)

    def sections(self) -> Mapping[str, type[ComposeSection]]:
        """Return the compose sections by key."""
        found = self._those_with(lambda provides: provides.sections)
        return {section.KEY: section for loaded in found for section in loaded.sections}

    def command_groups(self) -> tuple[CommandGroup, ...]:
        """Return the command groups of all plugins, without doubles; imports those only that were never loaded."""
        found = self._command_groups()
        return tuple(groups[0] for _, groups in sorted(found.items()) if len(groups) == 1)

    def find_command_group(self, name: str) -> CommandGroup | None:
        """Return the command group of that name. Raises :class:`PluginClash` if two plugins have it."""
        groups = self._command_groups().get(name, [])
        if len(groups) > 1:
            raise _clash("command", name, [info for info in self.infos().values() if _has_command(info, name)])
        return groups[0] if groups else None

    def _command_groups(self) -> dict[str, list[CommandGroup]]:
        found: dict[str, list[CommandGroup]] = {}
        for provides in self._provided():
            for group in provides.commands:
                found.setdefault(group.name, []).append(group)
        return found

    def schemes(self) -> tuple[str, ...]:
        """Return the schemes that ``volt image pull`` understands, sorted."""
        return tuple(sorted({scheme for provides in self._provided() for scheme in provides.schemes}))

    def call(self, hook: str, **arguments: object) -> list[Any]:
        """Call a hook in the plugins that implement it, and only load those; return their answers in order of name.

        One that raises gives no answer; :attr:`faults` keeps why.
        """
        answers: list[Any] = []
        for loaded in sorted(self._those_with(lambda it: [hook] * (hook in it.hooks)), key=lambda it: it.info.name):
            if self._manager is None:
                raise AssertionError("a plugin is loaded into a manager")
            try:
                answers += call(self._manager, self._manager.get_plugin(loaded.info.name), hook, **arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # the plugin boundary: what has been done must not look undone by sys.exit()
                self._faults.append(describe(loaded.info, error))
        return answers

    @property
    def faults(self) -> tuple[Failure, ...]:
        """What went wrong in plugins that :meth:`call` called."""
        return tuple(self._faults)

    def _one(
        self,
        what: str,
        name: str,
        classes_of: Callable[[Loaded], Iterable[type[_T]]],
        names_of: Callable[[type[_T]], Iterable[str]],
        names_in: Callable[[Provides], Iterable[str]],
    ) -> type[_T]:
        """Find the one class that goes by `name`; look again with everything loaded if nobody is known to have it."""
        for attempt in (self._those_with, self._all_after_rescan):
            found = [
                (loaded.info, item)
                for loaded in attempt(lambda provides: [name] * (name in names_in(provides)))
                for item in classes_of(loaded)
                if name in names_of(item)
            ]
            if len(found) > 1:
                raise _clash(what, name, [info for info, _ in found])
            if found:
                return found[0][1]
        raise self._unknown(what, name, names_in)

    def _unknown(self, what: str, name: str, names_in: Callable[[Provides], Iterable[str]]) -> VoltError:
        """Return the error for a name nobody provides; a broken plugin that had it, or has this name, tells why."""
        for failure in self._loaded.values():
            if isinstance(failure, Failure):
                had = failure.info.provides
                if failure.info.name == name or (had is not None and name in names_in(had)):
                    return failure.error()
        broken = ", ".join(plugin for plugin, loaded in self._loaded.items() if isinstance(loaded, Failure))
        also = f" Broken plugins: {broken}." if broken else ""
        if what == "backend":
            known = ", ".join(self.backends()) or "none"
            return BackendUnavailable(f"Unknown backend '{name}'", hint=f"Installed backends: {known}.{also}")
        if what == "store":
            return StoreError(f"No store '{name}' is installed", hint=f"Install the distribution volt-{name}.{also}")
        known = ", ".join(self.schemes())
        return UsageError(f"No image source for '{name}:' is installed", hint=f"Known sources: {known}.{also}")

    def _those_with(self, wanted: Callable[[Provides], Iterable[object]]) -> list[Loaded]:
        """Load the plugins that are known to provide what is `wanted`, or of which nothing is known yet."""
        self._know_all()
        names = [info.name for info in self.infos().values() if info.provides and any(wanted(info.provides))]
        return [loaded for loaded in map(self.load, names) if isinstance(loaded, Loaded)]

    def _provided(self) -> list[Provides]:
        """What each plugin is known to provide, without those that turned out to be broken."""
        self._know_all()
        sound = (info for name, info in self.infos().items() if not isinstance(self._loaded.get(name), Failure))
        return [info.provides for info in sound if info.provides]

    def _all_after_rescan(self, _wanted: Callable[[Provides], Iterable[object]]) -> list[Loaded]:
        """Load everything, in case an editable plugin has changed without being installed again."""
        return [loaded for loaded in self.load_all().values() if isinstance(loaded, Loaded)]

    def _know_all(self) -> None:
        """Load what has never been loaded without fault, and remember what it provides."""
        with self._lock:
            infos = self.infos().items()
            broken = {name for name, loaded in self._loaded.items() if isinstance(loaded, Failure)}
            unknown = [name for name, info in infos if info.provides is None and name not in broken]
            for name in unknown:
                self.load(name)
            if unknown:
                self._remember()

    def _remember(self) -> None:
        """Keep what the loaded plugins provide, in memory and in the cache."""
        infos = dict(self.infos())
        for name, loaded in self._loaded.items():
            infos[name] = loaded.info
        if infos != self._infos:
            self._infos = infos
            if not self._disabled:
                self._cache.write(tuple(infos.values()))


def _clash(what: str, name: str, owners: Iterable[PluginInfo]) -> PluginClash:
    named = " and ".join(f"'{info.name}' of {info.origin}" for info in owners)
    return PluginClash(
        f"The {what} '{name}' is registered by {named}", hint="Remove one, or name it in VOLT_DISABLE_PLUGINS."
    )


def _has_command(info: PluginInfo, name: str) -> bool:
    return info.provides is not None and any(group.name == name for group in info.provides.commands)


def _distinct(infos: Iterable[PluginInfo]) -> tuple[PluginInfo, ...]:
    """Return all of them under different names: where two distributions chose one, the later says whose it is."""
    named: dict[str, PluginInfo] = {}
    for info in infos:
        name = f"{info.name}@{info.distribution}" if info.name in named else info.name
        named[name] = msgspec.structs.replace(info, name=name)
    return tuple(named.values())
