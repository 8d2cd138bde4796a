"""A plan as a systemd unit: for a file, or for a transient unit."""

from __future__ import annotations

from volt_core.systemd.journal import CONSOLE_FIELD
from volt_core.systemd.unitfile import Section, Unit, escape_specifiers, quote_exec
from volt_core.systemd.units import sign_unit
from volt_nspawn import fallback
from volt_nspawn.argv import build_end_argv, build_start_argv
from volt_nspawn.plan import ContainerPlan

RENDERER = 2
"""Raised whenever what is rendered changes in meaning."""
_REBOOT = "133"
_RESTARTS = {"no": "no", "on-failure": "on-failure", "always": "always", "unless-stopped": "always"}
# What systemd-nspawn@.service allows but for loop and device-mapper: no root of ours is an image of a disk, and a node
# in the image would open those of the host.
_DEVICES = ("/dev/net/tun rwm", "char-pts rw")


def render_unit(plan: ContainerPlan) -> str:
    """Return the text of the unit's file."""
    install = Section("Install", (("WantedBy", "multi-user.target"),))
    unit = build_unit(plan)
    fields = {"Workload": f"container {plan.name}", "Id": plan.id, "Renderer": str(RENDERER)}
    return sign_unit(Unit((*unit.sections, install)), fields)


def build_unit(plan: ContainerPlan, *, transient: bool = False) -> Unit:
    """Return the unit without its header and without [Install]."""
    general = [
        ("Description", escape_specifiers(f"Volt container {plan.name}")),
        *([("CollectMode", "inactive-or-failed")] if transient else []),
        *_start_limit(plan),
    ]
    return Unit((Section("Unit", tuple(general)), Section("Service", tuple(_service(plan)))))


def _start_limit(plan: ContainerPlan) -> list[tuple[str, str]]:
    if plan.restart.policy == "on-failure" and plan.restart.max_retries:
        # Counted without end: the first start is one of them.
        return [("StartLimitIntervalSec", "infinity"), ("StartLimitBurst", str(plan.restart.max_retries + 1))]
    return []


def _service(plan: ContainerPlan) -> list[tuple[str, str]]:
    fields = [f"VOLT_CONTAINER={plan.name}", f"VOLT_WORKLOAD_ID={plan.id}"]
    fields += [f"VOLT_INSTANCE={plan.instance}"] if plan.instance else []
    fields += [CONSOLE_FIELD] if plan.boot else []
    service = [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("Slice", "machine.slice"),
        ("Delegate", "yes"),
        ("KillMode", "mixed"),
        ("TimeoutStartSec", f"{plan.start_timeout:g}"),
        ("TimeoutStopSec", f"{plan.stop_timeout:g}"),
        ("SyslogIdentifier", f"volt-{plan.name}"),
        ("SyslogLevelPrefix", "no"),
        *(("LogExtraFields", field) for field in fields),
        ("Restart", _RESTARTS[plan.restart.policy]),
        *([("RestartForceExitStatus", _REBOOT), ("SuccessExitStatus", _REBOOT)] if plan.boot else []),
        ("ExecStart", quote_exec(build_start_argv(plan))),
        *([("ExecStop", quote_exec(fallback.build_stop_argv(plan)))] if plan.asks_with else []),
        ("ExecStopPost", quote_exec(build_end_argv(plan))),
    ]
    return service + _limits(plan) + _devices(plan)


def _limits(plan: ContainerPlan) -> list[tuple[str, str]]:
    limits = plan.resources
    return [
        *([("MemoryMax", str(limits.memory_max))] if limits.memory_max is not None else []),
        *([("CPUQuota", f"{limits.cpu_quota * 100:g}%")] if limits.cpu_quota is not None else []),
        *([("TasksMax", str(limits.tasks_max))] if limits.tasks_max is not None else []),
    ]


def _devices(plan: ContainerPlan) -> list[tuple[str, str]]:
    # Its lock would outlive it when it is killed. Nobody else sees this root, and a unit runs once.
    lock = ("Environment", "SYSTEMD_NSPAWN_LOCK=0")
    if plan.privileged:
        return [lock, ("Environment", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes")]
    return [lock, ("DevicePolicy", "closed"), *(("DeviceAllow", device) for device in _DEVICES)]
