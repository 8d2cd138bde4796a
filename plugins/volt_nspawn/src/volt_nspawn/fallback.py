"""Without a compiler: shell scripts prepare a container, and nspawn's stub is its first process.

All that is different then is here, or asked of here. What only a program of Volt's can do is refused by name: to do it
wrongly would be worse, an exec without the payload's confinement above all.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from volt_core import fs
from volt_core.errors import BackendUnavailable
from volt_core.models.signals import parse_signal
from volt_core.models.workload import ContainerSpec

if TYPE_CHECKING:
    from volt_nspawn.plan import ContainerPlan

HINT = "Install gcc and libc6-dev, then reinstall volt-core."
NOTE = "runs without Volt's own programs: 'volt doctor' says what is lost"
LOST = (
    "no foreground runs, no terminal, no 'volt exec' and 'volt shell'",
    "a command that a signal killed has the exit code 255; one that could not be executed has 1, after its start",
    "commands run as root alone, and their stdout and stderr are one stream in the log",
)
STUB_PAYLOAD = 2
"""What the container numbers the child of nspawn's stub."""
_UNSHARE = "/usr/bin/unshare"
_EXPORTS = "exports"
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Some shells refuse to set them.
_READ_ONLY = frozenset({"BASHOPTS", "EUID", "PPID", "SHELLOPTS", "UID"})


def is_passed(name: str) -> bool:
    """Tell whether a shell can set a variable of that name."""
    return _SHELL_NAME.match(name) is not None and name not in _READ_ONLY


def adapt(plan: ContainerPlan) -> ContainerPlan:
    """Return the plan of a command as nspawn's stub can carry it out."""
    # The stub takes this for the end, and ends by reboot(2), which its pid namespace confines to the container.
    kept = tuple(name for name in plan.drop_capabilities if name != "CAP_SYS_BOOT")
    return msgspec.structs.replace(
        plan, stop_signal="SIGRTMIN+3", asks_with=plan.stop_signal, drop_capabilities=kept, defaults=()
    )


def check(name: str, spec: ContainerSpec, user: str) -> None:
    """Raise :class:`BackendUnavailable` for a container that the scripts cannot run as it is meant."""
    if spec.tty and not spec.boot:
        raise refusal(f"give '{name}' a terminal")
    if user != "0:0" and not spec.boot:
        raise refusal(f"run '{name}' as another user than root")


def refusal(act: str) -> BackendUnavailable:
    """Return the error for what the scripts cannot do."""
    return BackendUnavailable(f"Cannot {act}: this installation could build no programs", hint=HINT)


def build_start_argv(plan: ContainerPlan) -> list[str]:
    """Build what goes before nspawn's own command line, in a mount namespace that ends with the container."""
    script = plan.programs / "rootfs.sh"
    return [_UNSHARE, "--mount", "--propagation", "slave", str(script), str(plan.folder), str(plan.lower)]


def build_stop_argv(plan: ContainerPlan) -> list[str]:
    """Build ExecStop=."""
    return [str(plan.programs / "stop.sh"), str(plan.folder), str(parse_signal(plan.asks_with))]


def build_end_argv(plan: ContainerPlan) -> list[str]:
    """Build ExecStopPost=."""
    return [str(plan.programs / "outcome.sh"), str(plan.folder)]


def build_stub_options(plan: ContainerPlan) -> list[str]:
    """Build nspawn's options for a command."""
    return ["--as-pid2", f"--chdir={plan.working_dir}"]


def write_exports(folder: Path, passed: tuple[str, ...], env: Mapping[str, str]) -> None:
    """Write the script that sets the variables which nspawn passes on."""
    lines = [f"export {name}={shlex.quote(env[name])}\n" for name in passed]
    fs.write_atomic(folder / _EXPORTS, "".join(lines).encode("utf-8", "surrogateescape"), mode=0o600)
