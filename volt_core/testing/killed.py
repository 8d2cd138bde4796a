"""Commands killed at every step: whatever is left must not stand in the way of the next one.

A child of this process runs a command and is killed before its n-th step, for every n until it gets through. A step
is a change of the file system, which Python reports to an audit hook before it happens, and with :func:`bus_steps`
also a change that systemd is asked for, or a wait for it.

``python -m volt_core.testing.killed STEP WORDS...`` runs ``volt WORDS`` up to a step, says so, and goes no further:
for a host whose power is to be cut there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

from volt_core.cli.exits import run_app
from volt_core.systemd.bus import Systemd

HELD = "held"
"""What is said at the step beyond which a command does not go."""
_STEP = "volt.testing.step"
_STEPS = {_STEP, "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_ASKING = ("GetAll", "ListUnitsByPatterns", "Subscribe")


def every_step(words: Sequence[str], after: Callable[[bool], None], *, first: int = 0) -> int:
    """Kill ``volt WORDS`` at each step in turn, and return how many there are.

    `after` puts things right again and says what must hold; it is told whether the command got through.
    """
    step = first
    while True:
        through = run_until(step, words)
        after(through)
        if through:
            return step
        step += 1


def run_until(step: int, words: Sequence[str]) -> bool:
    """Run ``volt WORDS``, killed before its step number `step`; tell whether it got through, which must be success."""
    return act_until(step, lambda: run_app(words))


def act_until(step: int, act: Callable[[], int | None]) -> bool:
    """Act in a child of this process that is killed before its step number `step`; tell whether it got through.

    Fails if the act raises, or returns what is neither 0 nor None.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL, status
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, status
        return os.WIFEXITED(status)
    status = 99
    try:
        _at_step(step, lambda: os.kill(os.getpid(), signal.SIGKILL))
        status = act() or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


@contextlib.contextmanager
def bus_steps() -> Iterator[None]:
    """Let each change that systemd is asked for, and each wait for it, be a step too."""
    call, wait = Systemd._call, Systemd._next

    def counted_call(self: Systemd, member: str, *args: Any, **options: Any) -> Any:
        if member not in _ASKING:
            sys.audit(_STEP)
        return call(self, member, *args, **options)

    def counted_wait(self: Systemd, *args: Any) -> Any:
        sys.audit(_STEP)
        return wait(self, *args)

    with mock.patch.object(Systemd, "_call", counted_call), mock.patch.object(Systemd, "_next", counted_wait):
        yield


def _at_step(step: int, act: Callable[[], object]) -> None:
    """Act in this process before its step number `step` from now on."""
    left = step

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if _is_step(event, arguments):
            if left == 0:
                act()
            left -= 1

    sys.addaudithook(count)


def _is_step(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return isinstance(flags, int) and bool(flags & _WRITES) and path != os.devnull
    return event in _STEPS


def _hold() -> None:
    os.write(1, f"{HELD}\n".encode())
    while True:
        time.sleep(60)


if __name__ == "__main__":
    with bus_steps():
        _at_step(int(sys.argv[1]), _hold)
        sys.exit(run_app(sys.argv[2:]))
