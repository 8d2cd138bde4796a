"""What hands do to a container's unit, and what systemd then makes of it."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from volt_core.errors import ConflictError
from volt_core.models.workload import Status, Workload
from volt_core.paths import VoltPaths
from volt_core.systemd.bus import Systemd
from volt_core.systemd.units import UNIT_FOLDER
from volt_core.testing.command import Command
from volt_core.testing.payloads import ShellPayload
from volt_core.testing.workbench import GRACE, Workbench
from volt_nspawn import install, unit
from volt_nspawn.names import unit_name
from volt_nspawn.unit import RENDERER

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

STALE = "stale: its unit is old, and is rendered anew at the next start"


def systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def shown(name: str, key: str) -> str:
    return systemctl("show", "--property", key, "--value", name)


def path_of(bench: Workbench, workload: Workload) -> Path:
    return UNIT_FOLDER / unit_name(bench.backend.paths, workload.name)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def raise_renderer(monkeypatch: pytest.MonkeyPatch, by: int = 1) -> None:
    monkeypatch.setattr(unit, "RENDERER", RENDERER + by)
    monkeypatch.setattr(install, "RENDERER", RENDERER + by)


def test_a_unit_of_an_older_renderer_is_renewed_at_the_next_start(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = bench.start(ShellPayload().sleeps())
    path = path_of(bench, workload)
    edit(path, "[Service]\n", "[Service]\nNice=3\n")
    before = path.read_text()
    assert bench.backend.status(workload).note == ""
    raise_renderer(monkeypatch)
    status = bench.backend.status(workload)
    assert (status.status, status.note) == (Status.RUNNING, STALE)
    assert path.read_text() == before, "changed while it runs"
    bench.backend.stop(workload, GRACE)
    bench.backend.start(workload)
    assert f"Renderer={RENDERER + 1}" in path.read_text()
    assert "Nice" not in path.read_text()
    assert bench.backend.status(workload).note == ""
    assert shown(path.name, "Nice") == "3"
    edit(path, "[Service]\n", "[Service]\nCPUWeight=50\n")
    raise_renderer(monkeypatch, 2)
    bench.backend.stop(workload, GRACE)
    bench.backend.start(workload)
    assert (shown(path.name, "Nice"), shown(path.name, "CPUWeight")) == ("3", "50")


def test_a_unit_that_names_programs_of_another_volt_is_stale(bench: Workbench) -> None:
    workload = bench.create(ShellPayload().sleeps())
    path, rendered = path_of(bench, workload), bench.folder(workload) / "unit"
    programs = next(iter((bench.backend.paths.lib / "libexec").iterdir())).name
    for file in (path, rendered):
        file.write_text(file.read_text().replace(programs, "0" * len(programs)))
    assert bench.backend.status(workload).note == STALE


def test_an_edit_of_which_the_original_is_gone_is_kept_and_said(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = bench.create(ShellPayload().sleeps())
    path = path_of(bench, workload)
    edit(path, "[Service]\n", "[Service]\nNice=3\n")
    edited = path.read_text()
    (bench.folder(workload) / "unit").unlink()
    raise_renderer(monkeypatch)
    bench.backend.start(workload)
    note = bench.backend.status(workload).note
    (aside,) = path.with_name(f"{path.name}.d").iterdir()
    assert aside.read_text() == edited
    assert str(aside) in note
    aside.unlink()
    assert bench.backend.status(workload).note == ""


def test_a_unit_that_was_removed_is_rendered_anew(bench: Workbench) -> None:
    workload = bench.create(ShellPayload().sleeps())
    path_of(bench, workload).unlink()
    assert "missing" in bench.backend.status(workload).note
    bench.backend.start(workload)
    status = bench.backend.status(workload)
    assert (status.status, status.note) == (Status.RUNNING, "")


def test_a_masked_unit_stays_masked(bench: Workbench) -> None:
    workload = bench.create(ShellPayload().sleeps())
    path = path_of(bench, workload)
    path.unlink()
    systemctl("mask", path.name)
    assert "masked" in bench.backend.status(workload).note
    with pytest.raises(ConflictError, match="masked") as refused:
        bench.backend.start(workload)
    assert refused.value.hint is not None
    subprocess.run(refused.value.hint.removeprefix("Unmask it: ").split(), check=True)
    bench.backend.start(workload)
    assert bench.backend.status(workload).status is Status.RUNNING


def test_what_systemctl_has_set_goes_with_the_container(bench: Workbench) -> None:
    workload = bench.start(ShellPayload().sleeps())
    path = path_of(bench, workload)
    systemctl("set-property", path.name, "CPUWeight=50")
    systemctl("set-property", "--runtime", path.name, "IOWeight=50")
    override = path.with_name(f"{path.name}.d") / "override.conf"
    override.parent.mkdir()
    override.write_text("[Service]\nNice=3\n")
    systemctl("enable", path.name)
    systemctl("add-requires", "multi-user.target", path.name)
    bench.delete(workload)
    again = bench.start(ShellPayload().sleeps(), name=workload.name)
    assert {shown(path.name, key) for key in ("CPUWeight", "IOWeight")} == {"[not set]"}
    assert shown(path.name, "Nice") == "0"
    assert shown(path.name, "UnitFileState") == "disabled"
    bench.delete(again)
    assert list(UNIT_FOLDER.rglob(f"*{workload.name}*")) == []
    with contextlib.suppress(OSError):
        UNIT_FOLDER.joinpath("multi-user.target.requires").rmdir()


def test_many_old_units_are_renewed_with_one_reload(volt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"c{number}" for number in range(12)]
    for name in names:
        volt.ok("create", "--name", name, "box", "sleep", "1000")
    units = [unit_name(VoltPaths.below(volt.root), name) for name in names]
    # What another unit names stays in systemd's memory, and is not read again by a start.
    systemctl("add-wants", "multi-user.target", *units)
    raise_renderer(monkeypatch)
    reloads = []
    reload = Systemd.reload

    def counted(self: Systemd) -> None:
        reloads.append(self)
        reload(self)

    monkeypatch.setattr(Systemd, "reload", counted)
    assert volt.ok("start", *names).split() == names
    assert len(reloads) == 1
    assert volt.ok("ps", "--quiet").split() == sorted(names)
    assert all(f"Renderer={RENDERER + 1}" in (UNIT_FOLDER / unit).read_text() for unit in units)


def test_the_unit_of_one_that_runs_is_not_renewed_beside_others(volt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("web", "app"):
        volt.ok("create", "--name", name, "box", "sleep", "1000")
    volt.ok("start", "web")
    unit = UNIT_FOLDER / unit_name(VoltPaths.below(volt.root), "web")
    before = unit.read_text()
    raise_renderer(monkeypatch)
    said = volt("start", "web", "app")
    assert (said.status, said.out) == (4, "app\n")
    assert unit.read_text() == before
