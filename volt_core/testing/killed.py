"""Commands killed at every step: whatever is left must not stand in the way of the next one.

A child of this process runs a command and is killed before its n-th step, for every n until it gets through. A step
is a change of the file system, which Python reports to an audit hook before it happens, or whatever else a test
reports as :data:`STEP`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

from volt_core.cli.exits import run_app

STEP = "volt.testing.step"
"""Audit event of a step that is no change of the file system."""
_STEPS = {STEP, "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


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
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL, status
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, status
        return os.WIFEXITED(status)
    left = step

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if _is_step(event, arguments):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    status = 99
    try:
        sys.addaudithook(count)
        status = run_app(words)
    finally:
        os._exit(status)


def _is_step(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return isinstance(flags, int) and bool(flags & _WRITES) and path != os.devnull
    return event in _STEPS
