"""The hook specs: each says when it is called, since when it exists, and has typed arguments."""

from __future__ import annotations

import inspect
import re
import typing

import pytest

from volt_core.hookspecs import PROJECT, hookimpl, hookspec
from volt_core.plugins.manager import SPECS, build_manager

HOOKS = {name: getattr(module, name) for module in SPECS for name in vars(module) if name.startswith("volt_")}


@pytest.mark.parametrize("name", HOOKS)
def test_a_spec_explains_itself(name: str) -> None:
    spec = HOOKS[name]
    assert re.match(r"volt_(register|before|after|resolve|amend)_[a-z_]+\Z", name)
    assert ".. versionadded:: " in spec.__doc__
    assert re.search(r"(Collecting|Notifying|First-result) hook", spec.__doc__)
    hints = typing.get_type_hints(spec)
    assert set(inspect.signature(spec).parameters) | {"return"} == set(hints)
    kind = typing.get_origin(hints["return"])
    assert (kind is not None) == name.startswith("volt_register_"), "collecting hooks return an iterable, others None"


def test_an_implementation_takes_only_the_arguments_it_uses() -> None:
    class Plugin:
        @hookimpl
        def volt_after_event(self, event: str) -> None:
            seen.append(event)

    seen: list[str] = []
    manager = build_manager()
    manager.register(Plugin(), "plugin")
    manager.check_pending()
    manager.hook.volt_after_event(event="start", workload=None)
    assert seen == ["start"]


def test_the_markers_belong_to_one_project() -> None:
    assert hookspec.project_name == hookimpl.project_name == PROJECT == "volt"
