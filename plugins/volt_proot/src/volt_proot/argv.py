"""Command lines of proot, as data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from volt_core.supervisor.model import STATUS_FD

INIT_PATH: Final = "/proc/.volt-init"
"""Where the container sees ``init``. proot makes a placeholder for a target that is missing in the root, but
cannot in /proc, and needs none to run what is bound there: so nothing is left in the root."""

# Without init: pid, exit code and signal as the image's shell sees them. The inner shell becomes the command.
# The descriptor goes by its path since dash knows one digit only; the traps leave signals to the command.
_SHELL: Final = """
report=/proc/$$/fd/$1; shift
trap : HUP INT QUIT TERM USR1 USR2
sh -c 'echo "pid $$" > "$0"; exec "$@"' "$report" "$@"
code=$?
if [ $code -gt 128 ]; then echo "signal $((code - 128)) nocore" > "$report"; else echo "exit $code" > "$report"; fi
exit $code
"""


class Bind(NamedTuple):
    """A path of the host that the container sees."""

    source: str
    target: str


def build_proot_argv(
    root: Path,
    command: Sequence[str],
    *,
    identity: tuple[int, int] = (0, 0),
    binds: Sequence[Bind] = (),
    working_dir: str = "/",
    tty: bool = False,
    init: Path | None = None,
) -> list[str]:
    """Build the command line that runs `command` in `root`; :data:`STATUS_FD` in it stands for a descriptor."""
    # Without -v -1 it mixes remarks of its own, as on each death by a signal, into the container's stderr.
    argv = ["proot", "-v", "-1", "-r", str(root), "-i", f"{identity[0]}:{identity[1]}"]
    for bind in binds:
        argv += ["-b", f"{bind.source}:{bind.target}"]
    if init is None:
        return [*argv, "-w", working_dir, "/bin/sh", "-c", _SHELL, "sh", STATUS_FD, *command]
    argv += ["-b", f"{init}:{INIT_PATH}", "-w", "/"]
    argv += [INIT_PATH, "--status-fd", STATUS_FD, "--pdeathsig"]
    if tty:
        argv.append("--setsid-tty")
    return [*argv, "--workdir", working_dir, "--", *command]
