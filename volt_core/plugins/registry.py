"""Which plugin provides what; imports a plugin when something of it is asked for, and not before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import pluggy

from volt_core import __version__
from volt_core.contracts import Backend, ComposeSection, ImageSource, Store
from volt_core.errors import BackendUnavailable, PluginClash, StoreError, UsageError
from volt_core.models.extension import CommandGroup
from volt_core.plugins.discovery import DiscoveryCache, PluginInfo, Provides, scan
from volt_core.plugins.loader import Failure, Loaded, load
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
        self._disabled = frozenset(filter(None, environ.get("VOLT_DISABLE_PLUGINS", "").split(",")))
        self._trace = bool(environ.get("VOLT_TRACE_HOOKS"))
        self._cache = DiscoveryCache(cache)
        self._builtin = tuple(builtin)
        self._discover = discover
        self._infos: dict[str, PluginInfo] | None = None
        self._manager: pluggy.PluginManager | None = None
        self._loaded: dict[str, Loaded | Failure] = {}

    @property
    def disabled(self) -> frozenset[str]:
        """Names that ``VOLT_DISABLE_PLUGINS`` switches off."""
        return self._disabled

    def infos(self) -> Mapping[str, PluginInfo]:
        """Return the enabled plugins by name, without importing any."""
        if self._infos is None:
            remembered = self._cache.read()
            if remembered is None:
                remembered = (*self._builtin, *self._discover())
                self._cache.write(remembered)
            self._infos = {info.name: info for info in remembered if info.name not in self._disabled}
        return self._infos

    def load(self, name: str) -> Loaded | Failure:
        """Import one plugin, once."""
        if name not in self._loaded:
            if self._manager is None:
                self._manager = build_manager(trace=self._trace)
            self._loaded[name] = load(self.infos()[name], self._manager)
        return self._loaded[name]

    def load_all(self) -> Mapping[str, Loaded | Failure]:
        """Import every plugin and remember what each provides."""
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
        """Return all backend classes by name, sorted; those of broken plugins are absent."""
        found: dict[str, type[Backend]] = {}
        for loaded in self._those_with(lambda provides: provides.backends):
            found.update({backend.NAME: backend for backend in loaded.backends})
        return dict(sorted(found.items()))

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
        """Return the command groups of all plugins; imports those only that were never loaded."""
        self._know_all()
        groups = (group for info in self.infos().values() if info.provides for group in info.provides.commands)
        return tuple(sorted(groups, key=lambda group: group.name))

    def schemes(self) -> tuple[str, ...]:
        """Return the schemes that ``volt image pull`` understands, sorted."""
        self._know_all()
        infos = self.infos().values()
        return tuple(sorted(scheme for info in infos if info.provides for scheme in info.provides.schemes))

    def call(self, hook: str, **arguments: object) -> list[Any]:
        """Call a hook in the plugins that implement it, and only load those; return their answers in order of name."""
        implementers = [loaded.info.name for loaded in self._those_with(lambda it: [hook] * (hook in it.hooks))]
        if not implementers or self._manager is None:
            return []
        others = [plugin for name, plugin in self._manager.list_name_plugin() if name not in implementers]
        answers: list[Any] = self._manager.subset_hook_caller(hook, others)(**arguments)
        return answers

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
                owners = " and ".join(f"'{info.name}' of {info.origin}" for info, _ in found)
                raise PluginClash(
                    f"The {what} '{name}' is registered by {owners}",
                    hint="Remove one, or name it in VOLT_DISABLE_PLUGINS.",
                )
            if found:
                return found[0][1]
        raise self._unknown(what, name)

    def _unknown(self, what: str, name: str) -> Exception:
        """Return the error for a name nobody provides; a broken plugin of that name explains itself."""
        failure = self._loaded.get(name)
        if isinstance(failure, Failure):
            return failure.error()
        if what == "backend":
            known = ", ".join(self.backends()) or "none"
            return BackendUnavailable(f"Unknown backend '{name}'", hint=f"Installed backends: {known}.")
        if what == "store":
            return StoreError(f"No store '{name}' is installed", hint=f"Install the distribution volt-{name}.")
        known = ", ".join(self.schemes())
        return UsageError(f"No image source for '{name}:' is installed", hint=f"Known sources: {known}.")

    def _those_with(self, wanted: Callable[[Provides], Iterable[object]]) -> list[Loaded]:
        """Load the plugins that are known to provide what is `wanted`, or of which nothing is known yet."""
        self._know_all()
        names = [info.name for info in self.infos().values() if info.provides and any(wanted(info.provides))]
        return [loaded for loaded in map(self.load, names) if isinstance(loaded, Loaded)]

    def _all_after_rescan(self, _wanted: Callable[[Provides], Iterable[object]]) -> list[Loaded]:
        """Load everything, in case an editable plugin has changed without being installed again."""
        return [loaded for loaded in self.load_all().values() if isinstance(loaded, Loaded)]

    def _know_all(self) -> None:
        """Load what has never been loaded without fault, and remember what it provides."""
        unknown = [name for name, info in self.infos().items() if info.provides is None and name not in self._loaded]
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
