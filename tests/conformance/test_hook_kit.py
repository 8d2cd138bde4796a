"""The hook kit passes a sound plugin and finds each fault that it is there for."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from volt_core import API_VERSION
from volt_core.contracts import Backend
from volt_core.hookspecs import hookimpl
from volt_core.plugins.loader import VERSION_ATTRIBUTE
from volt_core.testing.fakes import DummyContainer, DummyService, DummyVm, MemoryStore
from volt_core.testing.hook_kit import HookKit

NAME = "plugin_of_the_hook_kit"


@pytest.fixture
def plugin() -> Iterator[Any]:
    module = types.ModuleType(NAME)
    module.__dict__[VERSION_ATTRIBUTE] = API_VERSION
    sys.modules[NAME] = module
    yield module
    del sys.modules[NAME]


class TestSoundPlugin(HookKit):
    target = NAME

    @pytest.fixture(autouse=True)
    def _plugin(self, plugin: Any) -> None:
        @hookimpl
        def volt_register_backends() -> Iterable[type[Backend]]:
            return (DummyContainer, DummyVm, DummyService)

        @hookimpl
        def volt_register_stores() -> Iterable[type[MemoryStore]]:
            return (MemoryStore,)

        plugin.volt_register_backends = volt_register_backends
        plugin.volt_register_stores = volt_register_stores


def _wrong_argument() -> Callable[..., object]:
    @hookimpl
    def volt_register_backends(colour: str) -> object:
        return ()

    return volt_register_backends


def _unmarked() -> Callable[..., object]:
    def volt_register_backends() -> object:
        return ()

    return volt_register_backends


def _unknown() -> Callable[..., object]:
    @hookimpl
    def volt_register_backend() -> object:
        return ()

    return volt_register_backend


def test_the_kit_finds_each_fault(pytester: pytest.Pytester, plugin: Any) -> None:
    classes = []
    for make in (_wrong_argument, _unmarked, _unknown):
        implementation = make()
        part = types.SimpleNamespace(**{implementation.__name__: implementation})
        setattr(plugin, make.__name__, part)
        classes.append(f"class Test{make.__name__}(HookKit):\n    target = '{NAME}:{make.__name__}'\n")
    pytester.makepyfile("from volt_core.testing.hook_kit import HookKit\n\n" + "\n".join(classes))
    result = pytester.runpytest_inprocess("-p", "no:randomly", "-k", "every_hook_like_name")
    counts = result.parseoutcomes()
    assert counts.get("failed", 0) + counts.get("errors", 0) == len(classes)
    assert "passed" not in counts
