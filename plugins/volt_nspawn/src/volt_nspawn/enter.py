"""More commands in a running container, by the program ``enter``."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from volt_core import run
from volt_core.contracts import Streams
from volt_core.errors import BackendError
from volt_core.models.outcome import Outcome
from volt_core.systemd.machine import cgroup_of, start_ticks
from volt_nspawn.relay import Relay

_REPORT_SIZE = 64 * 1024
_HAS_ENDED = "Cannot run the command: the container has ended"


def enter(
    program: Path,
    leader: int,
    command: Sequence[str],
    streams: Streams,
    *,
    env: Mapping[str, str],
    working_dir: str,
    user: str,
) -> Outcome:
    """Run `command` beside the container's first process and wait for it.

    `user` is ``UID:GID``. Raises :class:`BackendError` if the container cannot be entered.
    """
    if any("\0" in word for word in (*command, *env, *env.values(), working_dir)):
        raise BackendError("Cannot run the command: no argument, variable or directory can hold a null byte")
    started = time.time_ns()
    ticks = start_ticks(leader)
    with contextlib.ExitStack() as stack:
        report_read, report_write = os.pipe2(os.O_CLOEXEC)
        report = stack.enter_context(os.fdopen(report_read, "rb"))
        environment = _memfd(env)
        stack.callback(os.close, environment)
        relay = stack.enter_context(Relay(streams, outlives_terminal=False))
        caller, caller_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        relay.connect(caller)
        try:
            cgroup = os.open(cgroup_of(leader) / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            stack.callback(os.close, cgroup)
            process = run.spawn(
                [
                    *(str(program), "--leader", str(leader), "--started", str(ticks)),
                    *("--status-fd", str(report_write), "--cgroup", str(cgroup), "--env-fd", str(environment)),
                    *("--caller-fd", str(caller_far.fileno()), "--user", user, "--workdir", working_dir),
                    *(["--tty", f"{streams.size[0]}x{streams.size[1]}"] if streams.tty else []),
                    *("--", *command),
                ],
                env={},
                stdin=relay.far[0],
                stdout=relay.far[1],
                stderr=relay.far[2],
                pass_fds=(report_write, cgroup, environment, caller_far.fileno()),
            )
        except (FileNotFoundError, ProcessLookupError) as error:
            raise BackendError(_HAS_ENDED) from error
        finally:
            os.close(report_write)
            caller_far.close()
            relay.hand_over()
        relay.attend(process.pid)
        process.wait()
        relay.finish()
        lines = report.read(_REPORT_SIZE).decode("utf-8", "replace").splitlines()
    try:
        return _outcome(lines, process.returncode, started)
    except BackendError as error:
        # Whatever failed on the way, failed because of that: no process can be made where the first one is gone.
        if start_ticks(leader) != ticks:
            raise BackendError(_HAS_ENDED) from error
        raise


def _outcome(lines: Sequence[str], status: int, started: int) -> Outcome:
    finished = time.time_ns()
    for line in reversed(lines):
        word, *rest = line.split(" ")
        if word == "exit":
            return Outcome(code=int(rest[0]), started=started, finished=finished)
        if word == "signal":
            core = rest[1:] == ["core"]
            return Outcome(signal=int(rest[0]), core_dumped=core, result="signaled", started=started, finished=finished)
        if word == "fail":
            code, reason = int(rest[0]), " ".join(rest[2:])
            if code not in (126, 127):
                raise BackendError(f"Cannot run the command: {reason}")
            return Outcome(code=code, result="not-started", reason=reason, started=started, finished=finished)
    if any(line.startswith("pid ") for line in lines) and status < 0:
        return Outcome(signal=-status, result="signaled", started=started, finished=finished)
    raise BackendError(f"Cannot run the command: 'enter' ended with {status} and said nothing")


def _memfd(env: Mapping[str, str]) -> int:
    data = b"".join(f"{name}={value}\0".encode("utf-8", "surrogateescape") for name, value in env.items())
    fd = os.memfd_create("volt-environment", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    return fd
