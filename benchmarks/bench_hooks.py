"""Finding plugins and calling their hooks, with no plugin beyond those that are installed and with thirty more."""

from __future__ import annotations

import sys
from importlib.metadata import MetadataPathFinder
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.datasets import PLUGIN_PREFIX
from volt_core.models.workload import Kind, ServiceSpec, Workload
from volt_core.plugins import Plugins
from volt_core.plugins.discovery import PluginInfo, scan
from volt_core.plugins.loader import Loaded

ROUNDS = 20


@pytest.fixture(params=[0, 30], ids=["0-more", "30-more"])
def more(request: pytest.FixtureRequest, many_plugins: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many plugins are installed beyond those of this environment."""
    count: int = request.param
    if count:
        monkeypatch.syspath_prepend(many_plugins)
    return count


def made(plugins: Plugins) -> list[str]:
    """Return the names of the plugins that the benchmark brought."""
    return [name for name in plugins.infos() if name.startswith(PLUGIN_PREFIX)]


def forget_plugins() -> None:
    """Make the next import of a plugin of the benchmark a first one."""
    for name in [name for name in sys.modules if name.startswith(f"volt_{PLUGIN_PREFIX}")]:
        del sys.modules[name]


def own_plugins() -> tuple[PluginInfo, ...]:
    """Find the plugins that the benchmark brought and no others."""
    return tuple(info for info in scan() if info.name.startswith(PLUGIN_PREFIX))


def test_scan(benchmark: BenchmarkFixture, more: int) -> None:
    """Reading the metadata of all distributions, as after an installation."""
    found = benchmark.pedantic(scan, setup=MetadataPathFinder().invalidate_caches, rounds=ROUNDS)
    assert sum(info.name.startswith(PLUGIN_PREFIX) for info in found) == more


def test_discover_from_cache(benchmark: BenchmarkFixture, more: int, tmp_path: Path) -> None:
    """What every other command pays instead."""
    Plugins(tmp_path).load_all()

    def refuse() -> tuple[PluginInfo, ...]:
        raise AssertionError("the cache was not used")

    def discover() -> list[str]:
        return made(Plugins(tmp_path, discover=refuse))

    assert len(benchmark(discover)) == more


def test_load_all(benchmark: BenchmarkFixture, more: int, tmp_path: Path) -> None:
    """Importing and registering every plugin, as ``volt plugin list`` does."""

    def load_all(plugins: Plugins) -> list[Loaded]:
        return [loaded for loaded in plugins.load_all().values() if isinstance(loaded, Loaded)]

    def setup() -> tuple[tuple[Plugins], dict[str, object]]:
        forget_plugins()
        return (Plugins(tmp_path, builtin=(), discover=own_plugins),), {}

    assert len(benchmark.pedantic(load_all, setup=setup, rounds=ROUNDS)) == more


def test_call_hook(benchmark: BenchmarkFixture, more: int, tmp_path: Path) -> None:
    """One event, heard by every plugin of the benchmark."""
    plugins = Plugins(tmp_path, builtin=(), discover=own_plugins)
    loaded = plugins.load_all()
    workload = Workload(
        name="web", id="0" * 32, kind=Kind.SERVICE, backend="none", spec=ServiceSpec(command=("true",)), created=1
    )
    benchmark(plugins.call, "volt_after_event", event="start", workload=workload)
    assert len(loaded) == more
    assert all(isinstance(plugin, Loaded) for plugin in loaded.values())
