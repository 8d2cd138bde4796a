"""System calls of a piece of Python or C, seen and tampered with from outside by strace.

Whoever promises to survive a crash or a failing disk is killed before, or given an error by, each call in turn.
A piece of code is a function: it runs in a forked child of this process, whose modules are loaded already, so that a
run takes some 20 ms and its calls are the function's own. Every thread of it counts its calls for itself.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import re
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from volt_core import run
from volt_core.errors import VoltError

CHANGES = (
    *("openat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "rmdir", "mknod", "mknodat", "write", "pwrite64", "writev", "pwritev", "pwritev2"),
    *("truncate", "ftruncate", "fallocate", "copy_file_range", "sendfile", "splice", "ioctl"),
    *("utimensat", "fchmod", "fchmodat", "fchmodat2", "chmod", "fchown", "fchownat", "lchown"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "fremovexattr"),
)
"""What can change a file system. Opening may create a file; ioctl(2) clones."""
SYNCS = ("fsync", "fdatasync", "syncfs", "sync_file_range")
FAILED = 3
"""Exit status of a child whose function raised a :class:`VoltError`."""
_LINE = re.compile(r"(?P<thread>\d+) +(?P<text>(?P<name>\w+)\(.*)")
_UNKNOWN = "syscall_"  # newer than strace, which shows it although nobody has asked for it
_PR_SET_PTRACER = 0x59616D61
_PATIENCE = 30.0


class Call(NamedTuple):
    """One call: `number` counts those of the same name in the same thread, from 1; `text` is strace's line."""

    name: str
    number: int
    text: str


class Ended(NamedTuple):
    """How a function ended: `status` 0 is success; `signal` is what killed it, or 0."""

    status: int
    signal: int


def trace(act: Callable[[], object], names: Sequence[str] = CHANGES) -> list[Call]:
    """Return the calls that `act` makes, in order, those of a thread that was interrupted included.

    Paths are shown in full, and for descriptors the paths of their files. Raises if `act` does.
    """
    ended, lines = _run(act, ["-e", f"trace={_optional(names)}"])
    if ended != (0, 0):
        raise AssertionError(f"the function that was traced ended with {ended}")
    return _calls(lines)


def is_change(call: Call) -> bool:
    """Tell whether a call changed something: it succeeded, and what it opened was made by it."""
    if " = -1 " in call.text:
        return False
    if call.name == "openat":
        return "O_CREAT" in call.text or "O_TRUNC" in call.text
    return call.name != "ioctl" or "FICLONE" in call.text


def killed_everywhere(
    act: Callable[[], object],
    prepare: Callable[[], object],
    *,
    without: Sequence[str] = (),
    half: Callable[[Sequence[Call]], Sequence[Call]] = list,
) -> Iterator[Call]:
    """Run `act` killed before each of its changes in turn, and yield after each kill; `prepare` runs before each.

    Killed before a call that only makes things durable, it is as before the next change. Calls named in `without`
    are said to have succeeded, and not made. For `half` see :func:`in_two`.
    """
    prepare()
    killed = 0
    for call in half(boundaries([call for call in trace(act) if is_change(call)])):
        prepare()
        if not run_killed(act, call.name, call.number, without=without):
            killed += 1
            yield call
    assert killed, "nothing was changed, so nothing was killed"


def boundaries(calls: Sequence[Call]) -> list[Call]:
    """Return one call for each name and number: with several threads, some have the same."""
    found: dict[tuple[str, int], Call] = {}
    for call in calls:
        found.setdefault((call.name, call.number), call)
    return list(found.values())


def run_killed(act: Callable[[], object], name: str, number: int, *, without: Sequence[str] = ()) -> bool:
    """Run `act`, killed before its call number `number` of `name`; tell whether it came to its end before.

    See :func:`killed_everywhere` for `without`.
    """
    options = _injection(name, "signal=SIGKILL", number)
    if without:
        options += ["-e", f"inject={_optional(without)}:retval=0"]
        options[1] += f",{_optional(without)}"
    ended, _ = _run(act, options)
    assert ended in ((0, 0), (0, signal.SIGKILL)), ended
    return ended.signal == 0


def run_failing(act: Callable[[], object], name: str, number: int, error: str) -> bool | None:
    """Run `act` with an error as the result of that call (``EIO``); tell whether it succeeded all the same.

    None: it did not make that call, and succeeded. Anything else than success and a :class:`VoltError` is an assertion
    that fails.
    """
    ended, lines = _run(act, _injection(name, f"error={error}", number))
    assert ended in ((0, 0), (FAILED, 0)), ended
    if not any("(INJECTED)" in line for line in lines):
        assert ended.status == 0, "it failed before the call"
        return None
    return ended.status == 0


@contextlib.contextmanager
def in_two() -> Iterator[Callable[[Sequence[Call]], Sequence[Call]]]:
    """Run the block in this process and in a fork of it at once; what is yielded gives each its half of the calls.

    A child and its strace take turns, so that one process at a time leaves a processor idle.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            yield lambda calls: calls[1::2]
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    try:
        yield lambda calls: calls[::2]
    finally:
        _, status = os.waitpid(child, 0)
    assert status == 0, "the other half failed: see what it wrote to stderr"


def _optional(names: Sequence[str]) -> str:
    return ",".join(f"?{name}" for name in names)  # not every architecture has all


def _injection(name: str, what: str, number: int) -> list[str]:
    return ["-e", f"trace={name}", "-e", f"inject={name}:{what}:when={number}"]


def _calls(lines: Sequence[str]) -> list[Call]:
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    found = []
    for line in lines:
        match = _LINE.match(line)
        if match and not match["name"].startswith(_UNKNOWN):
            counts[match["thread"], match["name"]] += 1
            found.append(Call(match["name"], counts[match["thread"], match["name"]], match["text"]))
    return found


def _run(act: Callable[[], object], options: Sequence[str]) -> tuple[Ended, list[str]]:
    with tempfile.NamedTemporaryFile(prefix="volt-strace-") as output:
        with _waiting(act) as (child, let_go):
            argv = ["strace", "-f", "-y", "-s", "256", "-e", "signal=none", "-o", output.name, *options]
            with run.start([*argv, "-p", str(child)], stderr=run.PIPE) as strace:
                assert strace.stderr is not None
                said = strace.stderr.readline()
                if b"attached" not in said:
                    raise OSError(f"strace cannot look at a child: {said.decode().strip()}")
                let_go()
                _, status = os.waitpid(child, 0)
                strace.wait(_PATIENCE)
        if os.WIFSIGNALED(status):
            ended = Ended(0, os.WTERMSIG(status))
        else:
            ended = Ended(os.WEXITSTATUS(status), 0)
        return ended, output.read().decode("utf-8", "backslashreplace").splitlines()


@contextlib.contextmanager
def _waiting(act: Callable[[], object]) -> Iterator[tuple[int, Callable[[], None]]]:
    """Fork a child that runs `act` as soon as it is let go; it is killed and reaped if it is not."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        _be_child(act, reader)
    os.close(reader)
    gone = False

    def let_go() -> None:
        nonlocal gone
        gone = True
        os.write(writer, b"x")

    try:
        yield child, let_go
    finally:
        os.close(writer)
        if not gone:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _be_child(act: Callable[[], object], reader: int) -> None:
    # Yama lets only ancestors attach, and strace is a sibling.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_long(-1), 0, 0, 0)
    status = 1
    try:
        select.select([reader], [], [])  # no call that anybody asks for
        act()
        status = 0
    except VoltError:
        status = FAILED
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)
