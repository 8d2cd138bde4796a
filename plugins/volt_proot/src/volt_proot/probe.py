"""What this host allows."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

from volt_core import native, run
from volt_core.contracts import Probe
from volt_core.errors import VoltError
from volt_core.models.extension import Check, Verdict

AREA = "proot"
_SECONDS = 10.0


@functools.cache
def probe() -> Probe:
    """Tell whether proot runs a program here: it is tried, which takes a few milliseconds."""
    if run.find_program("proot") is None:
        return Probe.no("proot is not installed", "Install the package proot.")
    if _ptrace_scope() == 3:
        return Probe.no(
            "the kernel forbids ptrace, which proot needs (kernel.yama.ptrace_scope is 3)",
            "The setting can be changed only by a reboot: see /etc/sysctl.d.",
        )
    try:
        run.run(["proot", "-r", "/", "-w", "/", "/bin/sh", "-c", ":"], timeout=_SECONDS)
    except VoltError as error:
        return Probe.no(
            f"proot is installed but cannot run a program: {error.brief}",
            "A seccomp filter around this shell may forbid ptrace; a container runtime can allow it.",
        )
    return Probe.yes()


@functools.cache
def can_mount() -> bool:
    """Tell whether a private mount namespace can be had, which read-only mounts need."""
    options = ["--mount"] if os.geteuid() == 0 else ["--user", "--mount"]
    try:
        run.run(["unshare", *options, "true"], timeout=_SECONDS)
    except VoltError:
        return False
    return True


def checks() -> Iterator[Check]:
    """Yield what ``volt doctor`` says about proot."""
    result = probe()
    if not result.available:
        yield Check(area=AREA, what=result.reason, verdict=Verdict.MISSING, hint=result.hint)
        return
    yield Check(
        area=AREA,
        what="runs containers without root; it is no security boundary",
        verdict=Verdict.OK,
        hint="A container has the rights of whoever starts it; run images that you do not trust with nspawn.",
    )
    if native.program("init") is None:
        yield Check(
            area=AREA,
            what="Volt's helper 'init' is missing: images need /bin/sh, -t gives no job control, "
            "a core dump is not noticed, and an exit code above 128 counts as a signal",
            verdict=Verdict.WARNING,
            hint="Install a C compiler, then install volt-core again.",
        )
    if native.program("guard") is None:
        yield Check(
            area=AREA,
            what="Volt's helper 'guard' is missing: when a supervisor is killed, processes of its container run on "
            "with the host's files until the next start, stop or delete",
            verdict=Verdict.WARNING,
            hint="Install a C compiler, then install volt-core again.",
        )
    if not can_mount():
        yield Check(
            area=AREA,
            what="no private mount namespace: --read-only and -v SRC:DST:ro are refused",
            verdict=Verdict.WARNING,
            hint="Allow unprivileged user namespaces, or run as root.",
        )


def _ptrace_scope() -> int:
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
