"""The programs that units call: whole or not there, kept as long as a unit names them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_core import native, run
from volt_core.errors import BackendUnavailable
from volt_core.paths import VoltPaths
from volt_core.systemd import libexec
from volt_core.systemd.libexec import PROGRAMS, install_programs, programs_folder, prune_programs

MakePrograms = Callable[[str], None]


@pytest.fixture(autouse=True)
def make_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePrograms:
    """An installation's programs, of this content; called again it is an upgrade."""

    def make(content: str) -> None:
        folder = tmp_path / f"bin-{content}"
        folder.mkdir()
        for name in PROGRAMS:
            (folder / name).write_text(f"#!/bin/sh\n# {name} {content}\n")
        monkeypatch.setattr(native, "program", lambda name: folder / name)

    make("one")
    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def expected() -> dict[str, bytes]:
    return {name: libexec._source(name).read_bytes() for name in PROGRAMS}


def test_anybody_may_execute_them(paths: VoltPaths) -> None:
    folder = install_programs(paths)
    assert folder == programs_folder(paths) == install_programs(paths)
    assert contents(folder) == expected()
    for path in (folder, folder.parent, *folder.iterdir()):
        assert path.stat().st_mode & 0o777 == 0o755


def test_others_after_an_upgrade_lie_beside_those_before(paths: VoltPaths, make_programs: MakePrograms) -> None:
    before = install_programs(paths)
    make_programs("two")
    after = install_programs(paths)
    assert before != after
    assert b"init one" in contents(before)["init"]
    assert contents(after) == expected()


def _remove_one(folder: Path) -> None:
    (folder / "init").unlink()


def _cut_short(folder: Path) -> None:
    (folder / "outcome").write_bytes(b"#!")


def _forbid(folder: Path) -> None:
    (folder / "rootfs").chmod(0o644)


@pytest.mark.parametrize("damage", [_remove_one, _cut_short, _forbid])
def test_a_damaged_folder_is_mended(paths: VoltPaths, damage: Callable[[Path], None]) -> None:
    folder = install_programs(paths)
    damage(folder)
    assert install_programs(paths) == folder
    assert contents(folder) == expected()
    assert (folder / "rootfs").stat().st_mode & 0o777 == 0o755
    assert os.listdir(folder.parent) == [folder.name]


def test_what_a_killed_copy_left_is_no_folder(paths: VoltPaths) -> None:
    # In another process, killed when all but the rename is done.
    code = f"""
import os, pathlib, signal
from volt_core import native
from volt_core.paths import VoltPaths
from volt_core.systemd import libexec
native.program = lambda name: pathlib.Path({str(libexec._source("init").parent)!r}) / name
libexec._sync = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
libexec.install_programs(VoltPaths.below(pathlib.Path({str(paths.lib.parent)!r})))
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert [name.endswith(".new") for name in os.listdir(paths.lib / "libexec")] == [True]
    folder = install_programs(paths)
    assert contents(folder) == expected()
    assert os.listdir(folder.parent) == [folder.name]


def test_two_at_once_make_one(paths: VoltPaths) -> None:
    code = f"""
import pathlib, sys
from volt_core import native
from volt_core.paths import VoltPaths
from volt_core.systemd import libexec
native.program = lambda name: pathlib.Path({str(libexec._source("init").parent)!r}) / name
print("ready", flush=True)
sys.stdin.read()
print(libexec.install_programs(VoltPaths.below(pathlib.Path({str(paths.lib.parent)!r}))))
"""
    several = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in several:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in several:
        assert process.stdin is not None
        process.stdin.close()
    for process in several:
        with process:
            assert process.stdout is not None
            assert process.stdout.read().strip() == str(programs_folder(paths))
        assert process.returncode == 0
    assert contents(programs_folder(paths)) == expected()
    assert os.listdir(paths.lib / "libexec") == [programs_folder(paths).name]


def test_those_that_a_unit_names_stay(paths: VoltPaths, make_programs: MakePrograms) -> None:
    named = install_programs(paths)
    make_programs("two")
    unnamed = install_programs(paths)
    (named.parent / ".0123456789abcdef.new").mkdir()
    make_programs("three")
    prune_programs(paths, [f"[Service]\nExecStart={named}/rootfs --folder x\n"])
    assert os.listdir(named.parent) == [named.name]
    install_programs(paths)
    prune_programs(paths, [])
    assert os.listdir(named.parent) == [programs_folder(paths).name]
    assert not unnamed.exists()


def test_an_installation_without_programs_says_so(paths: VoltPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "program", lambda _: None)
    with pytest.raises(FileNotFoundError, match="no program 'enter'"):
        install_programs(paths)


@pytest.mark.needs_root
def test_a_place_where_nothing_can_be_executed_is_said(tmp_path: Path) -> None:
    place = tmp_path / "noexec"
    place.mkdir()
    run.run(["mount", "-t", "tmpfs", "-o", "noexec", "volt-test", str(place)], timeout=10)
    try:
        paths = VoltPaths.below(place / "volt")
        paths.prepare()
        with pytest.raises(BackendUnavailable, match="noexec") as refused:
            install_programs(paths)
        assert refused.value.hint is not None
        assert "--root" in refused.value.hint
    finally:
        run.run(["umount", str(place)], timeout=10)
        shutil.rmtree(place)
