"""Conformance of a plugin: its hook implementations fit the specs, and what they return can be used::

    class TestPlugin(HookKit):
        target = "my_plugin.plugin"

The target is the module that the entry point names.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar

import pluggy
import pytest

from volt_core import API_VERSION, __version__
from volt_core.contracts import Probe
from volt_core.models.extension import Check, CommandGroup
from volt_core.models.workload import Kind
from volt_core.names import check_name
from volt_core.paths import VoltPaths
from volt_core.plugins.discovery import PluginInfo
from volt_core.plugins.loader import VERSION_ATTRIBUTE, Loaded, load
from volt_core.plugins.manager import build_manager, hook_names


class HookKit:
    """What ``volt plugin list`` would complain of, and what only a user would notice."""

    target: ClassVar[str]
    """The value of the plugin's entry point."""

    @pytest.fixture
    def manager(self) -> pluggy.PluginManager:
        """A manager that knows the specs alone."""
        return build_manager()

    @pytest.fixture
    def loaded(self, manager: pluggy.PluginManager) -> Loaded:
        """The plugin, loaded as Volt does it: names and arguments of its hooks are checked there."""
        info = PluginInfo(name="kit", target=self.target, distribution="kit", version=__version__)
        result = load(info, manager)
        assert isinstance(result, Loaded), f"{result.reason}\n{result.traceback}"
        return result

    def test_every_hook_like_name_is_an_implementation_of_a_hook(
        self, loaded: Loaded, manager: pluggy.PluginManager
    ) -> None:
        plugin = manager.get_plugin("kit")
        named = {name for name in dir(plugin) if name.startswith("volt_")}
        assert named <= set(hook_names())
        # Without its marker an implementation is never called, and nothing says so.
        unmarked = {name for name in named if manager.parse_hookimpl_opts(plugin, name) is None}
        assert not unmarked
        assert named, "the plugin implements no hook"

    def test_it_says_what_it_is_written_against(self, loaded: Loaded, manager: pluggy.PluginManager) -> None:
        assert getattr(manager.get_plugin("kit"), VERSION_ATTRIBUTE, None) == API_VERSION, (
            f"put {VERSION_ATTRIBUTE} = {API_VERSION} into {self.target}: a Volt that cannot keep it then says so"
        )

    def test_names_are_usable(self, loaded: Loaded) -> None:
        for name in (*(item.NAME for item in loaded.backends), *(item.NAME for item in loaded.stores)):
            assert check_name(name)
        for source in loaded.sources:
            assert source.SCHEMES
        for section in loaded.sections:
            assert section.KEY.isidentifier()

    def test_backends_answer_the_probe(self, loaded: Loaded) -> None:
        for backend in loaded.backends:
            assert isinstance(backend.KIND, Kind)
            probe = backend.probe()
            assert isinstance(probe, Probe)
            assert probe.available or (probe.reason and probe.hint), f"{backend.NAME} gives no reason or no way out"

    def test_command_groups_can_be_imported(self, loaded: Loaded, manager: pluggy.PluginManager) -> None:
        for group in self._collect(manager.hook.volt_register_commands()):
            assert isinstance(group, CommandGroup)
            assert group.help.endswith(".")
            module, _, attribute = group.target.partition(":")
            assert hasattr(importlib.import_module(module), attribute)

    def test_checks_are_answers(self, loaded: Loaded, manager: pluggy.PluginManager, tmp_path: Path) -> None:
        for check in self._collect(manager.hook.volt_register_checks(paths=VoltPaths.below(tmp_path))):
            assert isinstance(check, Check)
        assert list(tmp_path.iterdir()) == [], "a check changes nothing"

    @staticmethod
    def _collect(answers: list[Any]) -> list[Any]:
        return [item for answer in answers for item in answer]
