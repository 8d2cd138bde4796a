"""Loads one plugin: import, register, ask it what it provides. Whatever goes wrong stays with that plugin."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterable
from typing import Any

import msgspec
import pluggy

from volt_core.contracts import Backend, ComposeSection, ImageSource, Probe, Store
from volt_core.errors import PluginBroken
from volt_core.models.extension import CommandGroup
from volt_core.plugins.discovery import PluginInfo, Provides


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that works, with the classes it registered."""

    info: PluginInfo
    backends: tuple[type[Backend], ...]
    stores: tuple[type[Store], ...]
    sources: tuple[type[ImageSource], ...]
    sections: tuple[type[ComposeSection], ...]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that does not work, and why."""

    info: PluginInfo
    reason: str
    traceback: str

    def error(self) -> PluginBroken:
        """Return the error to raise when somebody asks for what this plugin would provide."""
        return PluginBroken(
            f"Plugin '{self.info.name}' of {self.info.origin} is broken: {self.reason}",
            details=self.traceback,
            hint=f"See 'volt plugin inspect {self.info.name}', then update or remove {self.info.distribution}.",
        )


def load(info: PluginInfo, manager: pluggy.PluginManager) -> Loaded | Failure:
    """Import and register the plugin; on any fault take it out again and say what happened."""
    try:
        return _load(info, manager)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the plugin boundary: not even sys.exit() in a plugin may cost the others
        plugin = manager.get_plugin(info.name)
        if plugin is not None:
            manager.unregister(plugin)
        return describe(info, error)


def describe(info: PluginInfo, error: BaseException) -> Failure:
    """Return what to keep of an exception that came out of a plugin."""
    text = "".join(traceback.format_exception(error))
    return Failure(info=info, reason=f"{type(error).__name__}: {error}", traceback=text)


def call(manager: pluggy.PluginManager, plugin: object, hook: str, **arguments: object) -> list[Any]:
    """Call one hook of one plugin alone; the list holds its answer, or nothing if it has no such hook."""
    others = [other for other in manager.get_plugins() if other is not plugin]
    answers: list[Any] = manager.subset_hook_caller(hook, others)(**arguments)
    return answers


def probe(subject: type[Backend] | ImageSource) -> Probe:
    """Ask a backend or a source whether it works here; one that breaks its promise not to raise does not."""
    try:
        return subject.probe()
    except Exception as error:  # the plugin boundary
        return Probe.no(f"its probe failed: {type(error).__name__}: {error}", "Update or remove the plugin.")


def _load(info: PluginInfo, manager: pluggy.PluginManager) -> Loaded:
    module, _, attribute = info.target.partition(":")
    plugin: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        plugin = getattr(plugin, part)
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
        backends=backends,
        stores=stores,
        sources=sources,
        sections=sections,
    )


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
