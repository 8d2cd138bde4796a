"""systemctl by hand is as good as volt: status, outcome, log and stop timeout are the same, at any moment."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from volt_core.testing.command import Command, wait_for

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

NothingLeft = Callable[[], None]
UnitOf = Callable[[str], str]
TALKS = "trap 'echo bye; exit 5' TERM; echo ready; sleep 1000 & wait; wait"
STAYS = "trap '' TERM; echo ready; while :; do sleep 1; done"
REEXECS = 8


def systemctl(*words: str) -> None:
    """Run systemctl, which must succeed."""
    subprocess.run(["systemctl", *words], check=True, capture_output=True)


@pytest.mark.parametrize(("script", "signaled"), [(TALKS, None), (STAYS, signal.SIGKILL)], ids=["talks", "stays"])
def test_start_and_stop(
    volt: Command, nothing_left: NothingLeft, unit_of: UnitOf, script: str, signaled: int | None
) -> None:
    found = []
    for start in ("volt", "systemctl"):
        for stop in ("volt", "systemctl"):
            volt.ok("create", "--name", "web", "--stop-timeout", "1", "box", "sh", "-c", script)
            volt.ok("start", "web") if start == "volt" else systemctl("start", unit_of("web"))
            assert volt.state("web")["status"] == "running"
            wait_for(lambda: "ready" in volt.ok("logs", "web"))
            volt.ok("stop", "web") if stop == "volt" else systemctl("stop", unit_of("web"))
            state = volt.state("web")
            outcome = state["outcome"]
            found.append((state["status"], outcome.get("code"), outcome.get("signal"), volt.ok("logs", "web")))
            volt.ok("delete", "web")
    assert found == [found[0]] * 4
    assert found[0][2] == signaled
    assert found[0][3] == ("ready\n" if signaled else "ready\nbye\n")
    nothing_left()


def test_restart(volt: Command, nothing_left: NothingLeft, unit_of: UnitOf) -> None:
    volt.ok("run", "--detach", "--name", "web", "box", "sh", "-c", TALKS)
    wait_for(lambda: "ready" in volt.ok("logs", "web"))
    pid = volt.state("web")["pid"]
    systemctl("restart", unit_of("web"))
    assert volt.state("web")["status"] == "running"
    assert volt.state("web")["pid"] != pid
    wait_for(lambda: volt.ok("logs", "web") == "ready\nbye\nready\n")
    volt.ok("delete", "--force", "web")
    nothing_left()


@pytest.mark.parametrize(
    ("words", "status"),
    [(("kill",), "stopped"), (("kill", "--signal=KILL"), "failed"), (("reset-failed",), "running")],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_kill_and_reset_failed(
    volt: Command, nothing_left: NothingLeft, unit_of: UnitOf, words: tuple[str, ...], status: str
) -> None:
    volt.ok("run", "--detach", "--name", "web", "box", "sleep", "1000")
    subprocess.run(["systemctl", *words, unit_of("web")], check=words != ("reset-failed",), capture_output=True)
    if status != "running":
        volt.ok("wait", "web")
        outcome = volt.state("web")["outcome"]
        systemctl("daemon-reload")
        subprocess.run(["systemctl", "reset-failed", unit_of("web")], check=False, capture_output=True)
        assert volt.state("web")["outcome"] == outcome
    assert volt.state("web")["status"] == status
    volt.ok("delete", "--force", "web")
    nothing_left()


def test_systemd_executes_itself_anew_again_and_again(volt: Command, nothing_left: NothingLeft) -> None:
    volt.ok("create", "--name", "web", "box", "sleep", "1000")
    ended = threading.Event()

    def execute_anew() -> None:
        for pause in range(REEXECS):
            subprocess.run(["systemctl", "daemon-reexec"], check=False, capture_output=True)
            time.sleep(pause % 4 * 0.1)
        ended.set()

    thread = threading.Thread(target=execute_anew)
    thread.start()
    try:
        while not ended.is_set():
            for words in (("start", "web"), ("ps", "--all"), ("restart", "web"), ("stop", "web"), ("ps", "--all")):
                assert volt(*words)[::2] == (0, ""), words
    finally:
        thread.join()
    volt.ok("delete", "web")
    nothing_left()
