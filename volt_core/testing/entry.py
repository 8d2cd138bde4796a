"""What pytest finds where Volt is installed: one setting. With it, :mod:`.pytest_plugin` is loaded.

A test suite says ``volt = true`` in its settings of pytest; to all others nothing is done, and little is imported.
``pytest_plugins = ["volt_core.testing.pytest_plugin"]`` in the topmost ``conftest.py`` does the same without the
setting, also where Volt is not installed but only on the path.
"""

from __future__ import annotations

import pytest

PLUGIN = "volt_core.testing.pytest_plugin"
SETTING = "volt"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting."""
    parser.addini(SETTING, "Load the plugin of Volt's tests: fixtures, markers, kits.", type="bool", default=False)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Load the plugin before any conftest, whose fixtures then come before its own."""
    if early_config.getini(SETTING):
        early_config.pluginmanager.import_plugin(PLUGIN)
