"""What this host allows."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from volt_bwrap.argv import build_bwrap_argv
from volt_core import run
from volt_core.contracts import Probe
from volt_core.errors import VoltError
from volt_core.models.extension import Check, Verdict
from volt_core.supervisor.backend import find_init

_SECONDS: Final = 4.0
_SETTINGS: Final = (
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user.max_user_namespaces", "0", "10000"),
)
"""Settings of the kernel, the value that forbids user namespaces, and one that allows them."""


@functools.cache
def probe() -> Probe:
    """Tell whether bwrap runs a program here, by a container whose root is the host's: it takes a few milliseconds."""
    if run.find_program("bwrap") is None:
        return Probe.no("bubblewrap is not installed", "Install the package bubblewrap.")
    init = find_init()
    if init is None:
        return Probe.no("Volt's helper 'init' is missing", "Install a C compiler, then install volt-core again.")
    user = None if os.geteuid() == 0 else (0, 0)
    try:
        run.run(
            [*build_bwrap_argv(Path("/"), init, hostname="probe", user=user), "/bin/sh", "-c", ":"], timeout=_SECONDS
        )
    except VoltError as error:
        said = (error.details or "").strip().splitlines()
        return Probe.no(f"bwrap cannot run a program here: {said[0] if said else error.brief}", _hint())
    return Probe.yes()


def checks() -> Iterator[Check]:
    """Yield what ``volt doctor`` says about bubblewrap."""
    found = probe()
    if found.available:
        yield Check(area="bwrap", what="runs containers in namespaces of their own", verdict=Verdict.OK)
    else:
        yield Check(area="bwrap", what=found.reason, verdict=Verdict.MISSING, hint=found.hint)


def _hint() -> str:
    for name, forbids, allows in _SETTINGS:
        if os.geteuid() != 0 and _read(name) == forbids:
            return f"The kernel forbids user namespaces: as root type 'sysctl {name}={allows}'."
    return (
        "A container runtime or a seccomp filter around this shell may forbid namespaces: allow it, or run it outside."
    )


def _read(setting: str) -> str:
    try:
        return Path("/proc/sys", *setting.split(".")).read_text(encoding="ascii").strip()
    except OSError:
        return ""
