"""systemd or the bus does not answer: every act ends at its time limit and says why, and all is as before afterwards.

What is held here is held for all of the host: by a process of its own, so that it goes on whatever becomes of the test.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from volt_core.contracts import Backend
from volt_core.errors import TimedOut
from volt_core.models.workload import RestartPolicy, Status, Workload
from volt_core.systemd.client import LIMIT_VARIABLE
from volt_core.testing.payloads import ShellPayload
from volt_core.testing.workbench import GRACE, Pipes, Workbench

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

# SIGSTOP does nothing to PID 1. The kernel lets a traced process go on when its tracer ends.
_HOLD = """
import ctypes, os, sys
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT, ANY_CHILD = 0x4206, 0x4207, 0x40000000
pid = int(sys.argv[1])
assert ptrace(SEIZE, pid, None, None) == 0, os.strerror(ctypes.get_errno())
assert ptrace(INTERRUPT, pid, None, None) == 0
os.waitpid(pid, ANY_CHILD)
print("held", flush=True)
sys.stdin.read()
"""
_ACTS: dict[str, Callable[[Backend, Workload], object]] = {
    "start": lambda backend, workload: backend.start(workload),
    "stop": lambda backend, workload: backend.stop(workload, GRACE),
    "kill": lambda backend, workload: backend.kill(workload, 15),
    "status": lambda backend, workload: backend.status(workload),
    "statuses": lambda backend, workload: backend.statuses([workload]),
    "wait": lambda backend, workload: backend.wait(workload),
    "delete": lambda backend, workload: backend.delete(workload),
    "freeze": lambda backend, workload: backend.freeze(workload),  # type: ignore[attr-defined]
    "thaw": lambda backend, workload: backend.thaw(workload),  # type: ignore[attr-defined]
    "stats": lambda backend, workload: backend.stats(workload),  # type: ignore[attr-defined]
    "create": lambda backend, workload: backend.create(workload),
    "exec": lambda backend, workload: _attached(backend.exec, workload, ["true"]),  # type: ignore[attr-defined]
    "run": lambda backend, workload: _attached(_run_of(backend), workload),
}


@pytest.mark.parametrize("held", ["systemd", "dbus"])
@pytest.mark.parametrize("act", _ACTS)
def test_every_act_ends_and_says_why(bench: Workbench, monkeypatch: pytest.MonkeyPatch, act: str, held: str) -> None:
    if act in ("start", "run"):
        workload = bench.create(ShellPayload().sleeps())
    elif act == "create":
        workload = bench.plan(ShellPayload().sleeps(), restart=RestartPolicy(policy="always"))
    else:
        workload = bench.start(ShellPayload().sleeps())
    before = bench.backend.status(workload)
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    what = "systemd" if held == "systemd" else "bus|systemd"
    with _held(_pid(held)), pytest.raises(TimedOut, match=f"({what}) does not answer within 0.5 s"):
        _ACTS[act](bench.backend, workload)
    monkeypatch.delenv(LIMIT_VARIABLE)
    if act in ("status", "statuses", "wait", "stats", "exec", "kill"):
        assert bench.backend.status(workload) == before
        assert before.status is Status.RUNNING


@contextlib.contextmanager
def _held(pid: str) -> Iterator[None]:
    argv = [sys.executable, "-c", _HOLD, pid]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield


def _pid(who: str) -> str:
    if who == "systemd":
        return "1"
    shown = subprocess.run(
        ["systemctl", "show", "-p", "MainPID", "--value", "dbus.service"], capture_output=True, text=True, check=True
    )
    return shown.stdout.strip()


def _attached(act: Callable[..., object], workload: Workload, *args: object) -> object:
    with Pipes() as pipes:
        return act(workload, *args, pipes.streams)


def _run_of(backend: Backend) -> Callable[..., object]:
    return lambda workload, streams: backend.run_attached(workload, streams, lambda: None)  # type: ignore[attr-defined]
