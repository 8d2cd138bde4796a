"""What plugins are written against: another version costs only that plugin, and what will go is told beforehand."""

from __future__ import annotations

import types

import pytest

from volt_core import API_VERSION
from volt_core.errors import PluginBroken
from volt_core.hookspecs import hookspec
from volt_core.plugins import manager
from volt_core.plugins.loader import Failure, Loaded

MAJOR, MINOR = API_VERSION
SOURCE = """
    from volt_core.hookspecs import hookimpl

    VOLT_API_VERSION = {version}

    @hookimpl
    def volt_register_checks(): return [1]
"""


@pytest.fixture
def current(monkeypatch):
    """Make this Volt one that has had versions before."""
    monkeypatch.setattr("volt_core.plugins.loader.API_VERSION", (MAJOR, 5))
    return 5


@pytest.mark.parametrize("back", [0, 1])
def test_the_present_and_the_last_version_are_served(shelf, current, back):
    shelf.add("works", SOURCE.format(version=(MAJOR, current - back)))
    plugins = shelf.plugins()
    assert isinstance(plugins.load("works"), Loaded)
    assert plugins.call("volt_register_checks", paths=None) == [[1]]


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        ((MAJOR, 6), "Update volt-core, or install an older acme-other."),
        ((MAJOR + 1, 0), "Update volt-core, or install an older acme-other."),
        ((MAJOR, 3), "Update acme-other."),
    ],
)
def test_another_version_costs_that_plugin_alone(shelf, current, version, hint):
    shelf.add("other", SOURCE.format(version=version))
    shelf.add("works", SOURCE.format(version=(MAJOR, current)))
    plugins = shelf.plugins()
    failure = plugins.load_all()["other"]
    assert isinstance(failure, Failure)
    wanted = f"it is written for version {version[0]}.{version[1]} of the plugin contract, and this Volt has {MAJOR}.5"
    assert (failure.reason, failure.hint) == (wanted, hint)
    error = failure.error()
    assert isinstance(error, PluginBroken)
    assert str(error) == f"Plugin 'other' of acme-other 1.0 is broken: {wanted}. ({hint})"
    assert plugins.call("volt_register_checks", paths=None) == [[1]]


@pytest.mark.parametrize("version", ["'0.1'", "(0,)", "(0, 1, 2)", "('0', '1')", "None"])
def test_a_version_that_is_none_is_said(shelf, version):
    shelf.add("odd", SOURCE.format(version=version))
    failure = shelf.plugins().load("odd")
    assert isinstance(failure, Failure)
    assert "VOLT_API_VERSION" in failure.reason
    assert "not two numbers" in failure.reason


def test_a_plugin_that_does_not_say_is_loaded(shelf):
    shelf.add("silent", "")
    assert isinstance(shelf.plugins().load("silent"), Loaded)


def test_a_hook_that_will_go_warns_of_whom_implements_it(shelf, monkeypatch):
    class Leaving:
        @hookspec(warn_on_impl=DeprecationWarning("volt_before_dawn goes with 0.3: use volt_after_event"))
        def volt_before_dawn(self, paths): ...

        @hookspec(warn_on_impl_args={"mood": DeprecationWarning("the argument mood goes with 0.3")})
        def volt_before_dusk(self, mood, paths): ...

    spec = types.SimpleNamespace(volt_before_dawn=Leaving.volt_before_dawn, volt_before_dusk=Leaving().volt_before_dusk)
    monkeypatch.setattr(manager, "SPECS", (*manager.SPECS, spec))
    shelf.add(
        "outdated",
        """
        from volt_core.hookspecs import hookimpl
        @hookimpl
        def volt_before_dawn(): "Implements what goes."
        @hookimpl
        def volt_before_dusk(mood): "Takes an argument that goes."
        """,
    )
    shelf.add(
        "fresh",
        """
        from volt_core.hookspecs import hookimpl
        @hookimpl
        def volt_before_dusk(paths): "Takes what stays."
        """,
    )
    loaded = shelf.plugins().load_all()
    assert loaded["outdated"].warnings == (
        "volt_before_dawn goes with 0.3: use volt_after_event",
        "the argument mood goes with 0.3",
    )
    assert loaded["fresh"].warnings == ()


def test_loading_is_timed_for_the_sound_and_the_broken(shelf):
    for name, end in (("slow", ""), ("slow-and-broken", "\n    raise ValueError")):
        shelf.add(name, f"    import time\n    time.sleep(0.05){end}")
    loaded = shelf.plugins().load_all()
    assert {name: item.seconds >= 0.05 for name, item in loaded.items()} == {"slow": True, "slow-and-broken": True}
