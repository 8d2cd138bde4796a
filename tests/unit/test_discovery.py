"""Finding plugins: real metadata on the path of real processes, and the file that remembers it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

from volt_core.models.extension import CommandGroup
from volt_core.plugins.discovery import DiscoveryCache, PluginInfo, Provides

LIST = """
    import sys
    from pathlib import Path
    from volt_core.plugins import Plugins
    infos = Plugins(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("CACHE")).infos()
    print(*sorted(infos))
    print("importlib.metadata" in sys.modules)
"""
INFOS = (
    PluginInfo(name="one", target="one.plugin", distribution="d-one", version="1"),
    PluginInfo(
        name="two",
        target="two:object",
        distribution="d-two",
        version="2",
        provides=Provides(backends=("b",), commands=(CommandGroup(name="c", help="C.", target="c:app"),)),
    ),
)


def found(site, **env):
    """Return the names that a fresh process finds, and whether it had to read metadata for that."""
    done = site.python(LIST.replace("CACHE", str(site.root / "cache")), env=env)
    assert done.returncode == 0, done.stderr
    names, scanned = done.stdout.splitlines()
    return set(names.split()), scanned == "True"


def test_an_entry_point_is_found_without_importing_its_module(site):
    site.install("alpha", "raise AssertionError('imported')")
    names, _ = found(site)
    assert {"alpha", "core"} <= names


def test_the_cache_answers_without_reading_metadata(site):
    site.install("alpha", "")
    names, scanned = found(site)
    assert scanned
    assert found(site) == (names, False)


def test_what_is_added_upgraded_or_removed_is_noticed_at_once(site):
    site.install("alpha", "")
    before, _ = found(site)
    site.install("beta", "")
    assert found(site) == (before | {"beta"}, True)
    site.uninstall("acme-beta")
    site.install("beta", "", version="2.0")
    assert found(site) == (before | {"beta"}, True)
    (path,) = (site.root / "cache").glob("plugins-*.json")
    assert {"beta": "2.0"}.items() <= {
        it["name"]: it["version"] for it in json.loads(path.read_bytes())["plugins"]
    }.items()
    site.uninstall("acme-beta")
    assert found(site) == (before, True)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"key": 1, "plugins": []}',
        b'{"key": "x"}',
        b'{"key": "\xff"}',
        b"[" * 100000,
        b'{"x": ' + b"[" * 100000,
    ],
    ids=lambda damage: repr(damage[:12]),
)
def test_a_damaged_cache_is_no_cache(tmp_path, damage):
    DiscoveryCache(tmp_path).write(INFOS)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert DiscoveryCache(tmp_path).read() is None


def test_a_damaged_cache_is_made_anew(site):
    site.install("alpha", "")
    names, _ = found(site)
    (path,) = (site.root / "cache").glob("plugins-*.json")
    sound = path.read_bytes()
    path.write_bytes(sound[:40])
    assert found(site) == (names, True)
    assert path.read_bytes() == sound


def test_a_folder_that_cannot_be_made_costs_only_time(site):
    site.install("alpha", "")
    site.root.mkdir()
    (site.root / "cache").write_text("a file in its place")
    assert found(site)[1] is True
    assert found(site)[1] is True


def test_a_folder_that_cannot_be_written_costs_only_time(as_user, user_directory):
    cache = user_directory / "cache"
    cache.mkdir(mode=0o555)
    code = (
        "import sys; from pathlib import Path; from volt_core.plugins import Plugins;"
        "print(*Plugins(Path(sys.argv[1])).infos())"
    )
    for _ in range(2):
        done = as_user([sys.executable, "-c", code, str(cache)])
        assert "core" in done.stdout.decode().split()
        assert list(cache.iterdir()) == []


def test_environments_do_not_disturb_each_other(tmp_path, monkeypatch):
    ours = DiscoveryCache(tmp_path)
    ours.write(INFOS)
    monkeypatch.setattr(sys, "prefix", "/opt/another")
    theirs = DiscoveryCache(tmp_path)
    assert theirs.read() is None
    theirs.write(INFOS[:1])
    monkeypatch.undo()
    assert DiscoveryCache(tmp_path).read() == INFOS


def test_what_was_written_is_read(tmp_path):
    DiscoveryCache(tmp_path).write(INFOS)
    assert DiscoveryCache(tmp_path).read() == INFOS


def test_another_path_is_another_environment(tmp_path, monkeypatch):
    DiscoveryCache(tmp_path).write(INFOS)
    monkeypatch.syspath_prepend(tmp_path)
    assert DiscoveryCache(tmp_path).read() is None


def test_processes_that_write_at_once_leave_one_of_both(site):
    site.install("alpha", "")
    code = LIST.replace("CACHE", str(site.root / "cache"))
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    processes = [
        subprocess.Popen(argv, env={**os.environ, **site.environment()}, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = {process.communicate(timeout=60)[0].splitlines()[0] for process in processes}
    assert len(answers) == 1
    assert found(site)[1] is False


def test_files_of_environments_long_gone_are_removed(tmp_path):
    old, young, other = (tmp_path / name for name in ("plugins-0ld.json", "plugins-y0ung.json", "something.json"))
    for path in (old, young, other):
        path.write_text("{}")
    for path in (old, other):
        os.utime(path, (1, 1))
    young_since = time.time() - 29 * 86400
    os.utime(young, (young_since, young_since))
    cache = DiscoveryCache(tmp_path)
    cache.write(())
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)
    assert cache.read() == ()
