"""Plugins for the tests of the framework: modules on the path of this process."""

from __future__ import annotations

import itertools
import textwrap

import pytest

from volt_core.plugins import Plugins
from volt_core.plugins.discovery import PluginInfo

_modules = itertools.count()


class Shelf:
    """Plugins as modules on the path of this process; an entry point is only a name and a module for the core."""

    def __init__(self, folder, cache):
        self.folder = folder
        self.cache = cache
        self.infos = []

    def add(self, name, source, *, distribution=""):
        module = f"shelf{next(_modules)}_{name.replace('-', '_')}"
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        distribution = distribution or f"acme-{name}"
        self.infos.append(PluginInfo(name=name, target=module, distribution=distribution, version="1.0"))
        return module

    def plugins(self, **environ):
        return Plugins(self.cache, environ, builtin=(), discover=lambda: tuple(self.infos))


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    # The first import would make it, and a path that changes is another environment.
    (folder / "__pycache__").mkdir(parents=True)
    monkeypatch.syspath_prepend(folder)
    return Shelf(folder, tmp_path / "cache")
