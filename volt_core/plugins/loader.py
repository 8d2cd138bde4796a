"""Loads one plugin: import, register, ask it what it provides. Whatever goes wrong stays with that plugin."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Iterable
from typing import Any

import msgspec
import pluggy

from volt_core import API_VERSION
from volt_core.contracts import Backend, ComposeSection, ImageSource, Store
from volt_core.errors import PluginBroken
from volt_core.models.extension import CommandGroup
from volt_core.plugins.discovery import PluginInfo, Provides

VERSION_ATTRIBUTE = "VOLT_API_VERSION"
"""In a plugin's module: the :data:`~volt_core.API_VERSION` that it was written against."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that works, with the classes it registered."""

    info: PluginInfo
    seconds: float
    """What it took to import it, and to ask it what it provides."""
    warnings: tuple[str, ...]
    """What it uses that will go."""
    backends: tuple[type[Backend], ...]
    stores: tuple[type[Store], ...]
    sources: tuple[type[ImageSource], ...]
    sections: tuple[type[ComposeSection], ...]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that does not work, and why."""

    info: PluginInfo
    reason: str
    traceback: str
    hint: str = ""
    seconds: float = 0.0

    def error(self) -> PluginBroken:
        """Return the error to raise when somebody asks for what this plugin would provide."""
        return PluginBroken(
            f"Plugin '{self.info.name}' of {self.info.origin} is broken: {self.reason}",
            details=self.traceback,
            hint=self.hint
            or f"See 'volt plugin inspect {self.info.name}', then update or remove {self.info.distribution}.",
        )


def load(info: PluginInfo, manager: pluggy.PluginManager) -> Loaded | Failure:
    """Import and register the plugin; on any fault take it out again and say what happened."""
    begun = time.perf_counter()
    try:
        loaded = _load(info, manager)
        return msgspec.structs.replace(loaded, seconds=time.perf_counter() - begun)
    except BaseException as error:  # the plugin boundary: not even sys.exit() in a plugin may cost the others
        plugin = manager.get_plugin(info.name)
        if plugin is not None:
            manager.unregister(plugin)
        if isinstance(error, KeyboardInterrupt):
            raise
        return msgspec.structs.replace(describe(info, error), seconds=time.perf_counter() - begun)


def describe(info: PluginInfo, error: BaseException) -> Failure:
    """Return what to keep of an exception that came out of a plugin."""
    import traceback

    text = "".join(traceback.format_exception(error))
    if isinstance(error, PluginBroken):
        return Failure(info=info, reason=error.brief, traceback=text, hint=error.hint or "")
    return Failure(info=info, reason=f"{type(error).__name__}: {error}", traceback=text)


def call(manager: pluggy.PluginManager, plugin: object, hook: str, **arguments: object) -> list[Any]:
    """Call one hook of one plugin alone; the list holds its answer, or nothing if it has no such hook."""
    others = [other for other in manager.get_plugins() if other is not plugin]
    answers: list[Any] = manager.subset_hook_caller(hook, others)(**arguments)
    return answers


def _load(info: PluginInfo, manager: pluggy.PluginManager) -> Loaded:
    module, _, attribute = info.target.partition(":")
    plugin: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        plugin = getattr(plugin, part)
    _check_version(plugin, info)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager.register(plugin, info.name)
    manager.check_pending()
    backends = _collect(manager, plugin, "volt_register_backends", Backend)
    stores = _collect(manager, plugin, "volt_register_stores", Store)
    sources = _collect(manager, plugin, "volt_register_image_sources", ImageSource)
    sections = _collect(manager, plugin, "volt_register_compose_sections", ComposeSection)
    commands = _items(manager, plugin, "volt_register_commands")
    for command in commands:
        if not isinstance(command, CommandGroup):
            raise TypeError(f"volt_register_commands returned {command!r}, not a CommandGroup")
    callers = manager.get_hookcallers(plugin) or []
    provides = Provides(
        hooks=tuple(sorted(caller.name for caller in callers)),
        backends=tuple(backend.NAME for backend in backends),
        stores=tuple(store.NAME for store in stores),
        schemes=tuple(scheme for source in sources for scheme in source.SCHEMES),
        sections=tuple(section.KEY for section in sections),
        commands=tuple(commands),
    )
    return Loaded(
        info=msgspec.structs.replace(info, provides=provides),
        seconds=0.0,
        warnings=tuple(str(warning.message) for warning in caught),
        backends=backends,
        stores=stores,
        sources=sources,
        sections=sections,
    )


def _check_version(plugin: object, info: PluginInfo) -> None:
    """Raise :class:`PluginBroken` for a plugin that this Volt cannot keep its promises to.

    What goes is announced for one minor version, so one older than ours still finds all that it uses. A plugin that
    does not say what it was written against is taken at its word that it works.
    """
    theirs = getattr(plugin, VERSION_ATTRIBUTE, API_VERSION)
    if not (isinstance(theirs, tuple) and len(theirs) == 2 and all(isinstance(number, int) for number in theirs)):
        raise PluginBroken(f"its {VERSION_ATTRIBUTE} is {theirs!r}, not two numbers like {API_VERSION}")
    major, minor = API_VERSION
    if theirs[0] == major and minor - 1 <= theirs[1] <= minor:
        return
    what = (
        f"it is written for version {theirs[0]}.{theirs[1]} of the plugin contract, and this Volt has {major}.{minor}"
    )
    if theirs > API_VERSION:
        raise PluginBroken(what, hint=f"Update volt-core, or install an older {info.distribution}.")
    raise PluginBroken(what, hint=f"Update {info.distribution}.")


def _items(manager: pluggy.PluginManager, plugin: object, hook: str) -> list[Any]:
    """Return what a collecting hook of one plugin gives."""
    answers: list[Iterable[Any]] = call(manager, plugin, hook)
    return [item for answer in answers for item in answer]


def _collect(manager: pluggy.PluginManager, plugin: object, hook: str, base: type) -> tuple[Any, ...]:
    """Return the classes that a collecting hook of the plugin gives, checked against their contract."""
    classes = _items(manager, plugin, hook)
    for item in classes:
        if not (isinstance(item, type) and issubclass(item, base)):
            raise TypeError(f"{hook} returned {item!r}, not a subclass of {base.__name__}")
        missing = [*sorted(getattr(item, "__abstractmethods__", ())), *_unset(item, base)]
        if missing:
            raise TypeError(f"{item.__name__} does not define {', '.join(missing)}")
    return tuple(classes)


def _unset(item: type, base: type) -> list[str]:
    """Return the class attributes that the contract names and the class does not set: Python does not look for them."""
    return sorted(name for name in base.__annotations__ if name.isupper() and not hasattr(item, name))
