"""What lies outside of a container's specification: its directories, its unit, its ``.nspawn`` file."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from volt_core import fs
from volt_core.paths import VoltPaths
from volt_core.systemd.bus import forget_stop_timeout
from volt_core.systemd.libexec import install_programs, prune_programs
from volt_core.systemd.units import UNIT_FOLDER, UnitFiles
from volt_nspawn.names import machine_name, unit_name, unit_pattern
from volt_nspawn.plan import ContainerPlan
from volt_nspawn.settings import render_settings
from volt_nspawn.unit import render_unit

SETTINGS_FOLDER = Path("/etc/systemd/nspawn")
_RENDERED = "unit"
"""In the container's folder: the unit as it was rendered last, to tell what a hand has changed."""


def make_directories(plan: ContainerPlan) -> None:
    """Make the layers of the root, the upper one with the root directory's own mode and owner."""
    for name in ("upper", "work", "rootfs"):
        (plan.folder / name).mkdir(mode=0o700, exist_ok=True)
    root = plan.lower.stat()
    upper = plan.folder / "upper"
    os.chown(upper, root.st_uid, root.st_gid)
    shutil.copystat(plan.lower, upper)


def install(plan: ContainerPlan, paths: VoltPaths) -> bool:
    """Write unit and ``.nspawn`` file where they are missing or old; tell whether a unit was written.

    What a hand has changed in the unit is kept as a drop-in.
    """
    install_programs(paths)
    text = render_unit(plan)
    rendered = plan.folder / _RENDERED
    former = rendered.read_text("utf-8") if rendered.exists() else None
    written = UnitFiles().install(plan.unit, text, former)
    if written or former != text or not settings_path(plan.machine).exists():
        fs.write_atomic(rendered, text.encode())
        SETTINGS_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
        fs.write_atomic(settings_path(plan.machine), render_settings(plan).encode())
    return written


def is_stale(workload_folder: Path, unit: str) -> bool:
    """Tell whether the unit is not the one that was rendered last, leaving hand edits aside."""
    with contextlib.suppress(FileNotFoundError):
        return not UnitFiles().is_current(unit, (workload_folder / _RENDERED).read_text("utf-8"))
    return False


def remove(paths: VoltPaths, name: str) -> None:
    """Remove all that lies outside of the container's folder. None of it there is success."""
    unit = unit_name(paths, name)
    for link in UNIT_FOLDER.glob(f"*.wants/{unit}"):
        link.unlink(missing_ok=True)
    UnitFiles().remove(unit)
    fs.remove_file(settings_path(machine_name(paths, name)))
    shutil.rmtree(paths.run / "containers" / name, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        prune_programs(paths, UnitFiles().texts(unit_pattern(paths)))


def settings_path(machine: str) -> Path:
    """Return where the ``.nspawn`` file of a machine is."""
    return SETTINGS_FOLDER / f"{machine}.nspawn"


def remove_unfinished(paths: VoltPaths, name: str) -> None:
    """Remove what interrupted commands have left outside of the container's folder."""
    unit = unit_name(paths, name)
    fs.remove_unfinished(UnitFiles().path(unit))
    fs.remove_unfinished(settings_path(machine_name(paths, name)))
    forget_stop_timeout(unit)
