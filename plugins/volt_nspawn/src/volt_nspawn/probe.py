"""What this host allows, and what is lost where something is missing."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from volt_core import run
from volt_core.contracts import Probe
from volt_core.errors import VoltError
from volt_core.models.extension import Check, Verdict
from volt_core.systemd.journal import STORAGE_HINT, Storage, find_storage
from volt_core.systemd.libexec import have_programs
from volt_nspawn import fallback

AREA = "nspawn"
OLDEST = 252
_SECONDS = 10.0
_LOST_LOGS = {
    Storage.VOLATILE: "the journal is kept in memory: logs of containers are lost at a reboot",
    Storage.NONE: "journald keeps nothing: containers have no logs",
}


@functools.cache
def probe() -> Probe:
    """Tell whether containers run under systemd here."""
    if not Path("/run/systemd/system").is_dir():
        return Probe.no("systemd is not PID 1 here", "Use --backend proot, which needs neither root nor systemd.")
    if os.geteuid() != 0:
        return Probe.no("only root starts units of the system", "Run it with sudo, or use --backend proot.")
    program = run.find_program("systemd-nspawn")
    if program is None:
        return Probe.no("systemd-nspawn is not installed", "Install the package systemd-container.")
    try:
        version = find_version(Path(program))
    except (VoltError, OSError) as error:
        return Probe.no(f"systemd-nspawn does not run: {error}")
    if version < OLDEST:
        return Probe.no(f"systemd {version} is too old, {OLDEST} is the oldest that works", "Upgrade the host.")
    if "overlay" not in Path("/proc/filesystems").read_text("ascii") and not _can_load_overlay():
        return Probe.no("the kernel has no overlay file system", "Load the module overlay.")
    return Probe.yes(f"systemd {version}")


def find_version(program: Path) -> int:
    """Return the version of systemd that a program belongs to, 0 if it does not tell.

    Programs of systemd are linked with a library that has its version in its name. Asking the program takes 6 ms, of
    each create. Raises OSError, :class:`VoltError`.
    """
    match = re.search(rb"libsystemd-shared-(\d+)", program.read_bytes())
    if match is None:
        match = re.match(rb"systemd (\d+)", run.run([str(program), "--version"], timeout=_SECONDS).stdout)
    return int(match[1]) if match else 0


def _can_load_overlay() -> bool:
    try:
        run.run(["modprobe", "overlay"], timeout=_SECONDS)
    except VoltError:
        return False
    return True


def checks() -> Iterator[Check]:
    """Yield what ``volt doctor`` says about nspawn."""
    found = probe()
    verdict = Verdict.OK if found.available else Verdict.WARNING
    yield Check(area=AREA, what=found.reason or f"containers under {found.version}", verdict=verdict, hint=found.hint)
    if found.available and not have_programs():
        for missing in fallback.LOST:
            yield Check(area=AREA, what=f"without programs: {missing}", verdict=Verdict.WARNING, hint=fallback.HINT)
    if found.available and (lost := _LOST_LOGS.get(find_storage())):
        yield Check(area=AREA, what=lost, verdict=Verdict.WARNING, hint=STORAGE_HINT)
