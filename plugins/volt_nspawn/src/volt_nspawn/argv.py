"""Command lines, as data: the unit's, and that of an exec."""

from __future__ import annotations

import os
from collections.abc import Sequence

from volt_core.models.mount import Mount
from volt_nspawn import fallback
from volt_nspawn.plan import ContainerPlan

INIT_PATH = "/run/volt/init"
"""Where the container sees ``init``: in a tmpfs that nspawn mounts, so nothing is left in the root."""
NSPAWN = "/usr/bin/systemd-nspawn"
_OS_RELEASE = "/usr/lib/os-release"
"""Without it, or the one in /etc that goes before it, nspawn boots no tree."""


def build_start_argv(plan: ContainerPlan) -> list[str]:
    """Build ExecStart=: rootfs, which becomes systemd-nspawn, which runs init, which runs the command."""
    if plan.scripted:
        return [*fallback.build_start_argv(plan), *build_nspawn_argv(plan), *plan.command]
    return [*_rootfs(plan), "--", *build_nspawn_argv(plan), *_payload(plan)]


def build_end_argv(plan: ContainerPlan) -> list[str]:
    """Build ExecStopPost=, which keeps how the run ended."""
    if plan.scripted:
        return fallback.build_end_argv(plan)
    return [str(plan.programs / "outcome"), "--folder", str(plan.folder), *(["--boot"] if plan.boot else [])]


def build_nspawn_argv(plan: ContainerPlan) -> list[str]:
    """Build the part that is systemd-nspawn's: complete, since it reads no file beside."""
    argv = [
        NSPAWN,
        "--quiet",
        "--keep-unit",
        "--settings=no",
        f"--machine={plan.machine}",
        f"--hostname={plan.hostname}",
        f"--directory={plan.folder / 'rootfs'}",
        f"--console={'read-only' if plan.boot else 'pipe'}",
        "--link-journal=no",
        f"--resolv-conf={'off' if plan.private_network else 'bind-host'}",
        "--timezone=off",
        f"--kill-signal={plan.stop_signal}",
    ]
    argv += ["--boot"] if plan.boot else []
    argv += ["--notify-ready=yes"] if plan.notifies else []
    argv += [f"--setenv={name}" for name in plan.passed]
    argv += ["--private-network"] if plan.private_network else []
    argv += ["--read-only"] if plan.read_only else []
    if plan.privileged:
        argv.append("--capability=all")
    elif plan.drop_capabilities:
        argv.append(f"--drop-capability={','.join(plan.drop_capabilities)}")
    argv += [] if plan.privileged or plan.boot else ["--no-new-privileges=yes"]
    argv += [_bind(mount) for mount in plan.mounts]
    if plan.boot:
        return argv
    if plan.scripted:
        return [*argv, *fallback.build_stub_options(plan)]
    return [*argv, _bind(Mount(source=str(plan.programs / "init"), target=INIT_PATH, read_only=True))]


def escape_bind(path: str) -> str:
    """Return a path as nspawn takes it in a bind, where a colon ends it."""
    return path.replace("\\", "\\\\").replace(":", "\\:")


def _bind(mount: Mount) -> str:
    option = "--bind-ro" if mount.read_only else "--bind"
    return f"{option}={escape_bind(mount.source)}:{escape_bind(mount.target)}"


def _rootfs(plan: ContainerPlan) -> list[str]:
    argv = [str(plan.programs / "rootfs"), "--folder", str(plan.folder), "--lower", str(plan.lower)]
    argv += ["--attach", str(plan.attach), "--log-as", f"volt-{plan.name}", "--unit", plan.unit]
    for mount in plan.mounts:
        # nspawn makes missing targets itself, but not in a root that is read-only.
        argv += ["--directory" if _is_directory(mount) else "--file", mount.target]
    if plan.boot:
        return [*argv, "--file", _OS_RELEASE, "--boot"]
    for variable in plan.defaults:
        argv += ["--default", variable]
    return [*argv, *(["--tty"] if plan.tty else [])]


def _is_directory(mount: Mount) -> bool:
    return os.path.isdir(mount.source)


def _payload(plan: ContainerPlan) -> Sequence[str]:
    if plan.boot:
        return plan.command
    return (INIT_PATH, "--handed", "--workdir", plan.working_dir, "--user", plan.user, "--", *plan.command)
