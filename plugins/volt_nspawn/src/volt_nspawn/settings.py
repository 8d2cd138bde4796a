"""A plan as a ``.nspawn`` file (systemd.nspawn(5)): for machinectl and for hands; the unit does not read it."""

from __future__ import annotations

from volt_core.systemd.unitfile import Section, Unit, render_unit
from volt_nspawn.argv import INIT_PATH, escape_bind
from volt_nspawn.plan import ContainerPlan

_HEADER = "# Rendered by Volt from the same plan as {unit}, which does not read this file.\n"


def render_settings(plan: ContainerPlan) -> str:
    """Return the text of the file. It knows no unit, no directory and no way to hand over descriptors."""
    return _HEADER.format(unit=plan.unit) + render_unit(
        Unit((Section("Exec", tuple(_exec(plan))), Section("Files", tuple(_files(plan))), _network(plan)))
    )


def _exec(plan: ContainerPlan) -> list[tuple[str, str]]:
    entries = [
        ("Boot", _word(plan.boot)),
        *([("ProcessTwo", "yes"), ("WorkingDirectory", plan.working_dir)] if plan.scripted and not plan.boot else []),
        ("Hostname", plan.hostname),
        ("KillSignal", plan.stop_signal),
        ("NotifyReady", _word(plan.notifies)),
        ("LinkJournal", "no"),
        ("ResolvConf", "off" if plan.private_network else "bind-host"),
        ("Timezone", "off"),
    ]
    if plan.privileged:
        entries.append(("Capability", "all"))
    elif plan.drop_capabilities:
        entries.append(("DropCapability", " ".join(plan.drop_capabilities)))
    return [*entries, *([] if plan.privileged or plan.boot else [("NoNewPrivileges", "yes")])]


def _files(plan: ContainerPlan) -> list[tuple[str, str]]:
    binds = [
        ("BindReadOnly" if mount.read_only else "Bind", f"{escape_bind(mount.source)}:{escape_bind(mount.target)}")
        for mount in plan.mounts
    ]
    init = (
        []
        if plan.boot or plan.scripted
        else [("BindReadOnly", f"{escape_bind(str(plan.programs / 'init'))}:{INIT_PATH}")]
    )
    return [("ReadOnly", _word(plan.read_only)), *binds, *init]


def _network(plan: ContainerPlan) -> Section:
    return Section("Network", (("Private", _word(plan.private_network)),))


def _word(value: bool) -> str:
    return "yes" if value else "no"
