"""Where things are, for the system, a user and a root of one's own."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from volt_core.errors import UsageError
from volt_core.models.workload import Kind
from volt_core.paths import VoltPaths


def test_the_system_ignores_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    paths = VoltPaths.find(environ={"XDG_DATA_HOME": "/elsewhere", "HOME": "/root"})
    assert (paths.etc, paths.lib, paths.run) == (Path("/etc/volt"), Path("/var/lib/volt"), Path("/run/volt"))
    assert (paths.system, paths.instance) == (True, "")
    assert VoltPaths.find(environ={}) == paths, "root needs no HOME"


def test_a_user_has_the_xdg_folders() -> None:
    paths = VoltPaths.for_user({"HOME": "/home/ann"}, uid=4_000_000)
    assert (paths.etc, paths.lib) == (Path("/home/ann/.config/volt"), Path("/home/ann/.local/share/volt"))
    moved = VoltPaths.for_user({"HOME": "/home/ann", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"}, uid=4_000_000)
    assert (moved.etc, moved.lib) == (Path("/c/volt"), Path("/d/volt"))
    assert not moved.system


def test_a_relative_xdg_folder_is_ignored_as_the_specification_says() -> None:
    paths = VoltPaths.for_user({"HOME": "/home/ann", "XDG_DATA_HOME": "data"}, uid=4_000_000)
    assert paths.lib == Path("/home/ann/.local/share/volt")


def test_without_a_runtime_folder_state_is_kept_with_the_data(tmp_path: Path) -> None:
    assert VoltPaths.for_user({"HOME": "/home/ann"}, uid=4_000_000).run == Path("/home/ann/.local/share/volt/run")


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_a_user_without_home_is_told_what_to_set(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="Set HOME or VOLT_ROOT"):
        VoltPaths.find(environ=environ)
    assert VoltPaths.find(environ={**environ, "VOLT_ROOT": "/srv/v"}).lib == Path("/srv/v/lib")


def test_a_root_of_ones_own_beats_the_variable(tmp_path: Path) -> None:
    variable, option = tmp_path / "variable", tmp_path / "option"
    assert VoltPaths.find(environ={"VOLT_ROOT": str(variable)}).etc == variable / "etc"
    assert VoltPaths.find(option, {"VOLT_ROOT": str(variable)}).etc == option / "etc"


def test_the_instance_id_belongs_to_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = VoltPaths.below(tmp_path / "one"), VoltPaths.below(tmp_path / "two")
    assert re.fullmatch(r"[0-9a-f]{8}", one.instance)
    assert one.instance != two.instance
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to("one")
    monkeypatch.chdir(tmp_path)
    for same in ("one", "./one/", "two/../one", "link", str(tmp_path / "link")):
        assert VoltPaths.below(Path(same)) == one


def test_the_instance_id_never_changes() -> None:
    assert VoltPaths.below(Path("/nonexistent/volt")).instance == "f76c9849"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_prepare_makes_folders_with_their_modes(tmp_path: Path, umask: int) -> None:
    paths = VoltPaths.below(tmp_path / "root")
    before = os.umask(umask)
    try:
        paths.prepare()
        paths.prepare()
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (paths.lib, paths.run, paths.locks)}
    assert modes == {paths.lib: 0o711, paths.run: 0o700, paths.locks: 0o700}


def test_prepare_keeps_a_mode_that_somebody_chose(tmp_path: Path) -> None:
    paths = VoltPaths.below(tmp_path)
    paths.prepare()
    paths.lib.chmod(0o700)
    paths.prepare()
    assert stat.S_IMODE(paths.lib.stat().st_mode) == 0o700


def test_every_kind_has_its_folder_and_its_truth() -> None:
    paths = VoltPaths.for_system()
    assert paths.truth(Kind.CONTAINER, "web") == Path("/var/lib/volt/containers/web/container.json")
    assert paths.truth(Kind.VM, "web") == Path("/var/lib/volt/vms/web/config.yaml")
    assert len({paths.workloads(kind) for kind in Kind}) == len(Kind)
    assert paths.config_file == Path("/etc/volt/config.yaml")
    assert paths.index == Path("/var/lib/volt/workload-state.json")
    assert paths.store == Path("/var/lib/volt/cas")


def test_building_paths_touches_nothing(tmp_path: Path) -> None:
    VoltPaths.below(tmp_path / "root").workload(Kind.CONTAINER, "web")
    assert list(tmp_path.iterdir()) == []


def test_prepare_mends_the_mode_of_a_folder_that_a_cache_made(tmp_path: Path) -> None:
    paths = VoltPaths.below(tmp_path)
    paths.cache.mkdir(parents=True)
    paths.prepare()
    assert stat.S_IMODE(paths.lib.stat().st_mode) == 0o711


def test_an_empty_root_is_no_root() -> None:
    """A script whose variable is unset must not work on the host's own instance; an empty variable is an unset one."""
    with pytest.raises(UsageError, match="root"):
        VoltPaths.find("", {"VOLT_ROOT": "/x"})
    assert VoltPaths.find(None, {"VOLT_ROOT": "", "HOME": "/home/x"}).instance == ""
