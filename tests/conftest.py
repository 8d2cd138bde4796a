"""Plugins for tests: distributions made by hand on the path of a real process, and classes of this one."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from volt_core import run
from volt_core.contracts import Backend, ImageSource, Store
from volt_core.hookspecs import hookimpl
from volt_core.models.workload import Workload
from volt_core.paths import VoltPaths
from volt_core.plugins import Plugins
from volt_core.plugins.discovery import PluginInfo
from volt_core.testing.fakes import MemoryStore

_numbers = itertools.count()


class Site:
    """A directory of distributions, as pip would leave them, and an instance of Volt that sees them.

    Processes start with it on their path, before the directories where Volt and its plugins really are.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.root = root
        folder.mkdir(exist_ok=True)

    def install(
        self, name: str, source: str, *, distribution: str = "", version: str = "1.0", module: str = ""
    ) -> Path:
        """Write the module and the metadata of a plugin; returns the module's path."""
        distribution = distribution or f"acme-{name}"
        module = module or distribution.replace("-", "_")
        path = self.folder / f"{module}.py"
        path.write_text(textwrap.dedent(source))
        metadata = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[volt]\n{name} = {module}\n")
        return path

    def uninstall(self, distribution: str) -> None:
        """Remove the metadata, as pip does; the module may stay."""
        for metadata in self.folder.glob(f"{distribution.replace('-', '_')}-*.dist-info"):
            for path in metadata.iterdir():
                path.unlink()
            metadata.rmdir()

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a process that sees the plugins."""
        python = {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"}
        return {**os.environ, **run.child_environment(), **python, "VOLT_ROOT": str(self.root), **(env or {})}

    def argv(self, *words: str) -> list[str]:
        """Return the command line of ``volt WORDS``."""
        return [sys.executable, "-m", "volt_core", *words]

    def volt(
        self, *words: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``volt WORDS`` to its end. Output is decoded; what is not UTF-8 shows as escapes."""
        return self._run(self.argv(*words), env, stdin)

    def python(
        self, code: str, *options: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code that sees the plugins."""
        return self._run([sys.executable, *options, "-c", textwrap.dedent(code)], env, None)

    def _run(
        self, argv: list[str], env: Mapping[str, str] | None, stdin: bytes | None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv, env=self.environment(env), input=stdin or b"", capture_output=True, timeout=60, check=False
        )
        out, err = (data.decode("utf-8", "backslashreplace") for data in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(argv, done.returncode, out, err)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty directory of distributions."""
    return Site(tmp_path / "site", tmp_path / "root")


MakePlugins = Callable[..., Plugins]


@pytest.fixture
def make_plugins(paths: VoltPaths, monkeypatch: pytest.MonkeyPatch) -> MakePlugins:
    """Make the plugins of an instance from classes: ``make_plugins(backends=[…], sources=[…], events=list)``."""

    def make(
        *,
        backends: Sequence[type[Backend]] = (),
        stores: Sequence[type[Store]] = (MemoryStore,),
        sources: Sequence[type[ImageSource]] = (),
        events: Callable[[str, Workload], None] | None = None,
    ) -> Plugins:
        plugin = ModuleType(f"plugin_in_memory_{next(_numbers)}")
        hooks: dict[str, Callable[..., object]] = {
            "volt_register_backends": lambda: backends,
            "volt_register_stores": lambda: stores,
            "volt_register_image_sources": lambda: sources,
        }
        if events is not None:
            hooks["volt_after_event"] = lambda event, workload: events(event, workload)
        for name, hook in hooks.items():
            setattr(plugin, name, hookimpl(hook))
        monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
        info = PluginInfo(name="fakes", target=plugin.__name__, distribution="volt-fakes", version="1.0")
        return Plugins(paths.cache / plugin.__name__, {}, builtin=(info,), discover=lambda: ())

    return make
