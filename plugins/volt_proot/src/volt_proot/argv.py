"""Command lines of proot, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from volt_core.supervisor.model import STATUS_FD

INIT_PATH: Final = "/proc/.volt-init"
"""Where the container sees ``init``. proot makes a placeholder for a target that is missing in the root, but
cannot in /proc, and needs none to run what is bound there: so nothing is left in the root."""

# Without init: pid, exit code and signal as the image's shell sees them. The inner shell becomes the command.
# The descriptor goes by its path since dash knows one digit only, for which reason dash may not be able to close it
# either, and would end trying; the traps leave signals to the command.
_SHELL: Final = """
report=/proc/$$/fd/$1
trap : HUP INT QUIT TERM USR1 USR2
sh -c '
        echo "pid $$" > "$0"
        if (eval "exec $1>&-") 2>/dev/null; then eval "exec $1>&-"; fi
        shift
        exec "$@"
' "$report" "$@"
code=$?
if [ $code -gt 128 ]; then echo "signal $((code - 128)) nocore" > "$report"; else echo "exit $code" > "$report"; fi
exit $code
"""


# The dynamic linker of the host would read these for proot itself, whose libraries the image does not have.
_FOR_THE_PAYLOAD_ALONE: Final = ("LD_", "GLIBC_TUNABLES", "PROOT_")


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
    init_env: Sequence[str] = (),
) -> list[str]:
    """Build the command line that runs `command` in `root`; :data:`STATUS_FD` in it stands for a descriptor.

    `init_env` is what :func:`split_environment` keeps for the payload.
    """
    # Without -v -1 it mixes remarks of its own, as on each death by a signal, into the container's stderr.
    argv = ["proot", "-v", "-1", "-r", str(root), "-i", f"{identity[0]}:{identity[1]}", "-w", working_dir]
    for bind in binds:
        argv += ["-b", f"{bind.source}:{bind.target}"]
    if init is None:
        return [*argv, "/bin/sh", "-c", _SHELL, "sh", STATUS_FD, *command]
    argv += ["-b", f"{init}:{INIT_PATH}", INIT_PATH, "--status-fd", STATUS_FD, "--pdeathsig", "--deny-untranslated"]
    if tty:
        argv.append("--setsid-tty")
    for variable in init_env:
        argv += ["--env", variable]
    # Given to proot, too, which sets PWD to it, but goes to / without a word if it is missing.
    return [*argv, "--workdir", working_dir, "--", *command]


def split_environment(env: Mapping[str, str], temporary: Path) -> tuple[dict[str, str], list[str]]:
    """Return what proot gets, and what ``init`` then changes, so that the payload has just `env`.

    proot keeps its own files in `temporary`: a directory of the container, so that none outlive it.
    """
    outer = {name: value for name, value in env.items() if not name.startswith(_FOR_THE_PAYLOAD_ALONE)}
    inner = {name: value for name, value in env.items() if name not in outer}
    own = [] if "PROOT_TMP_DIR" in inner else ["PROOT_TMP_DIR"]
    return {**outer, "PROOT_TMP_DIR": str(temporary)}, [*own, *(f"{name}={value}" for name, value in inner.items())]
