"""What lies outside of a container's specification: its directories, its unit, its ``.nspawn`` file."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from volt_core import fs
from volt_core.errors import ConflictError
from volt_core.paths import VoltPaths
from volt_core.systemd.bus import forget_stop_timeout
from volt_core.systemd.libexec import install_programs, programs_folder, prune_programs
from volt_core.systemd.units import TRANSIENT_FOLDER, UNIT_FOLDER, UnitFiles, header_of
from volt_nspawn.names import machine_name, unit_name, unit_pattern
from volt_nspawn.plan import ContainerPlan
from volt_nspawn.settings import render_settings
from volt_nspawn.unit import RENDERER, render_unit

SETTINGS_FOLDER = Path("/etc/systemd/nspawn")
_LEFT_BY_NSPAWN = ("propagate", "unix-export")
"""Mount points that it takes away itself, unless it was killed."""
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

    What a hand has changed in the unit is kept as a drop-in. Raises :class:`ConflictError` if the unit is masked.
    """
    install_programs(paths)
    text = render_unit(plan)
    rendered = plan.folder / _RENDERED
    former = _find_rendered(plan.folder)
    written = UnitFiles().install(plan.unit, text, former)
    if written or former != text or not settings_path(plan.machine).exists():
        fs.write_atomic(rendered, text.encode())
        SETTINGS_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
        fs.write_atomic(settings_path(plan.machine), render_settings(plan).encode())
    return written


def is_stale(paths: VoltPaths, workload_folder: Path, unit: str) -> bool:
    """Tell whether the unit's file is missing or another than this Volt would render, leaving hand edits aside."""
    files = UnitFiles()
    found, rendered = files.find(unit), _find_rendered(workload_folder)
    if found is None or not _is_of_this_volt(found, paths):
        return True
    return rendered is not None and not files.is_current(unit, rendered)


def note(paths: VoltPaths, workload_folder: Path, unit: str) -> str:
    """Return what somebody should know of the unit's file; empty if all is well."""
    files = UnitFiles()
    try:
        files.check_place(unit)
    except ConflictError as error:
        return str(error)
    if is_stale(paths, workload_folder, unit):
        what = "missing" if files.find(unit) is None else "old"
        return f"stale: its unit is {what}, and is rendered anew at the next start"
    for aside in files.laid_aside(unit):
        return (
            f"its unit was edited by hand and replaced; move what is needed of '{aside}' to a drop-in, then remove it"
        )
    return ""


def remove(paths: VoltPaths, name: str) -> None:
    """Remove all that lies outside of the container's folder. None of it there is success."""
    UnitFiles().remove(unit_name(paths, name))
    fs.remove_file(settings_path(machine_name(paths, name)))
    shutil.rmtree(paths.run / "containers" / name, ignore_errors=True)
    for kind in _LEFT_BY_NSPAWN:
        with contextlib.suppress(OSError):
            Path("/run/systemd/nspawn", kind, machine_name(paths, name)).rmdir()
    with contextlib.suppress(FileNotFoundError):
        prune_programs(paths, _unit_texts(unit_pattern(paths)))


def _is_of_this_volt(unit: str, paths: VoltPaths) -> bool:
    """Tell whether this version would render a unit alike: by its own number, and with the programs it has."""
    if header_of(unit).get("Renderer") != str(RENDERER):
        return False
    return f"{programs_folder(paths)}/" in unit


def _unit_texts(pattern: str) -> Iterator[str]:
    for folder in (UNIT_FOLDER, TRANSIENT_FOLDER):
        yield from UnitFiles(folder).texts(pattern)


def _find_rendered(workload_folder: Path) -> str | None:
    """Return the unit as it was rendered last."""
    with contextlib.suppress(FileNotFoundError):
        return (workload_folder / _RENDERED).read_text("utf-8", "replace")
    return None


def settings_path(machine: str) -> Path:
    """Return where the ``.nspawn`` file of a machine is."""
    return SETTINGS_FOLDER / f"{machine}.nspawn"


def remove_unfinished(paths: VoltPaths, name: str) -> None:
    """Remove what interrupted commands have left outside of the container's folder."""
    unit = unit_name(paths, name)
    fs.remove_unfinished(UnitFiles().path(unit))
    fs.remove_unfinished(settings_path(machine_name(paths, name)))
    forget_stop_timeout(unit)
