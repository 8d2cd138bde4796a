"""The one gate to other programs: nothing else in Volt imports :mod:`subprocess`.

Programs get a list of arguments and never a shell, a small environment with a fixed locale, and no
standard input unless asked for. Every wait has an end, and a child never outlives the caller's interest
in it: on any exception it is asked to end, then killed, and always reaped; if the caller itself is killed,
the kernel asks the child to end.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Final

import msgspec

from volt_core.errors import BackendUnavailable, CommandFailed, TimedOut
from volt_core.models.signals import signal_name

DEVNULL: Final = subprocess.DEVNULL
PIPE: Final = subprocess.PIPE
Process = subprocess.Popen
Expired = subprocess.TimeoutExpired
_CAPTURE_LIMIT = 8 * 1024 * 1024
_CHUNK = 65536
_STDERR_LINES = 12
_GRACE = 3.0
_PASSED_ON = ("HOME", "PATH", "TMPDIR", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "http_proxy", "https_proxy", "no_proxy")
# SIGTERM, since tools such as mmdebstrap clear away their directory and end their own children then.
_END_WITH_PARENT = ("--pdeathsig", "TERM", "--")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Debian packages of programs whose package has another name.
_PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "journalctl": "systemd",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "nft": "nftables",
    "ip": "iproute2",
    "setpriv": "util-linux",
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
            out, err = _communicate(process, stdin or b"", timeout)
        except subprocess.TimeoutExpired as expired:
            raise TimedOut(f"'{argv[0]}' did not end within {timeout:g} s", details=shlex.join(argv)) from expired
        if process.returncode not in ok:
            raise failure(argv, process.returncode, err)
        return Completed(status=process.returncode, stdout=out, stderr=err)


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
    """Start a program for the length of the block; it is ended and reaped when the block is left early.

    It also ends with the thread that started it: that is what the kernel's parent-death signal watches.
    """
    program = need_program(argv[0])
    process = subprocess.Popen(
        [need_program("setpriv"), *_END_WITH_PARENT, program, *argv[1:]],
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


def _communicate(process: subprocess.Popen[bytes], data: bytes, timeout: float) -> tuple[bytes, bytes]:
    """Feed stdin, gather stdout and stderr, reap. What is beyond the limit is read and dropped.

    Popen.communicate keeps all of it in memory, however much comes.
    """
    deadline = time.monotonic() + timeout
    captured = {stream: bytearray() for stream in (process.stdout, process.stderr) if stream is not None}
    rest = memoryview(data)
    with selectors.DefaultSelector() as selector:
        for stream in captured:
            selector.register(stream, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired(process.args, timeout)
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    rest = _feed(key.fd, rest)
                    finished = not rest
                else:
                    chunk = os.read(key.fd, _CHUNK)
                    kept = captured[key.fileobj]  # type: ignore[index]  # only these are registered
                    kept += chunk[: _CAPTURE_LIMIT - len(kept)]
                    finished = not chunk
                if finished:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]  # Popen's own files
    process.wait(max(0.0, deadline - time.monotonic()))
    out, err = (bytes(kept) for kept in captured.values())
    return out, err


def _feed(descriptor: int, rest: memoryview) -> memoryview:
    """Write what the pipe takes and return what is left; who closes its stdin wants no more."""
    try:
        return rest[os.write(descriptor, rest) :]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the child's session to end, then kill it; reap the child in any case.

    Until the child is reaped its number stands for its process group, also when it has ended and others
    of the group live on.
    """
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        _wait_unreaped(process.pid, _GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_unreaped(pid: int, timeout: float) -> None:
    """Wait until a child has ended, and leave it a zombie."""
    descriptor = os.pidfd_open(pid)
    try:
        select.select([descriptor], [], [], timeout)
    finally:
        os.close(descriptor)
