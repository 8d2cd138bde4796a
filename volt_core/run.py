"""The one gate to other programs: nothing else in Volt imports :mod:`subprocess`.

Programs get a list of arguments and never a shell, a small environment with a fixed locale, and no
standard input unless asked for. Every wait has an end, and a child never outlives the caller's interest
in it: on any exception it is asked to end, then killed, and always reaped.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Final

import msgspec

from volt_core.errors import BackendUnavailable, CommandFailed, TimedOut
from volt_core.models.outcome import signal_name

DEVNULL: Final = subprocess.DEVNULL
PIPE: Final = subprocess.PIPE
Process = subprocess.Popen
_CAPTURE_LIMIT = 8 * 1024 * 1024
_STDERR_LINES = 12
_GRACE = 3.0
_PASSED_ON = ("HOME", "PATH", "TMPDIR", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "http_proxy", "https_proxy", "no_proxy")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Debian packages of programs whose package has another name.
_PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "nft": "nftables",
    "ip": "iproute2",
    "xz": "xz-utils",
}


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """What a program left behind."""

    status: int
    stdout: bytes
    stderr: bytes


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment that programs get: an allow-list, a fixed locale, and `extra`."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {"PATH": _DEFAULT_PATH, **kept, "LC_ALL": "C.UTF-8", **(extra or {})}


def find_program(name: str) -> str | None:
    """Return the path of a program, or None. Also looks where an ordinary user's PATH does not: sbin."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_DEFAULT_PATH}")


def need_program(name: str) -> str:
    """Return the path of a program, or raise :class:`BackendUnavailable` with the package to install."""
    found = find_program(name)
    if found is None:
        raise BackendUnavailable(f"Program '{name}' not found", hint=f"Install the package {package_of(name)}.")
    return found


def package_of(program: str) -> str:
    """Return the Debian package that brings a program."""
    return _PACKAGES.get(program, program)


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    ok: Sequence[int] = (0,),
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: bytes | None = None,
) -> Completed:
    """Run a program to its end and return its output, at most 8 MiB of each stream.

    Raises :class:`CommandFailed` for a status not in `ok`, :class:`TimedOut` after `timeout` seconds,
    :class:`BackendUnavailable` if there is no such program.
    """
    with start(argv, env=env, cwd=cwd, stdin=DEVNULL if stdin is None else PIPE, stdout=PIPE, stderr=PIPE) as process:
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            raise TimedOut(f"'{argv[0]}' did not end within {timeout:g} s", details=shlex.join(argv)) from expired
        if process.returncode not in ok:
            raise failure(argv, process.returncode, err)
        return Completed(status=process.returncode, stdout=out[:_CAPTURE_LIMIT], stderr=err[:_CAPTURE_LIMIT])


@contextlib.contextmanager
def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: int | IO[bytes] = DEVNULL,
    stdout: int | IO[bytes] = DEVNULL,
    stderr: int | IO[bytes] = DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program for the length of the block; it is ended and reaped when the block is left early."""
    program = need_program(argv[0])
    process = subprocess.Popen(
        [program, *argv[1:]],
        env=child_environment(env),
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            _end(process)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: int,
    stdout: int,
    stderr: int,
    pass_fds: Sequence[int] = (),
    new_session: bool = True,
    cwd: str | os.PathLike[str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that the caller looks after itself, with exactly this environment.

    For supervisors, whose children live longer than any block of code.
    """
    return subprocess.Popen(
        [need_program(argv[0]), *argv[1:]],
        env=dict(env),
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=new_session,
    )


def failure(argv: Sequence[str], status: int, stderr: bytes) -> CommandFailed:
    """Return the error for a program that ended badly, with the last lines of what it said."""
    tail = "\n".join(stderr.decode("utf-8", "replace").strip().splitlines()[-_STDERR_LINES:])
    how = f"was killed by {signal_name(-status)}" if status < 0 else f"ended with status {status}"
    return CommandFailed(
        f"'{os.path.basename(argv[0])}' {how}",
        argv=argv,
        status=status,
        stderr=f"{tail}\nThe command was: {shlex.join(argv)}".strip(),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the child's session to end, then kill it; reap it in any case."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return
