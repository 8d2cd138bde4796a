"""What ``/proc`` tells of processes: identity, descent, and what a workload left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MARKER = "VOLT_WORKLOAD_ID"
"""Variable that every process of a supervised workload has, so that what a killed supervisor leaves is found again."""
_FIELDS_AFTER_COMM = 3  # the state is field 3 of proc(5), the first behind the name in parentheses
_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """Some of ``/proc/PID/stat``."""

    pid: int
    state: str
    parent: int
    start: int
    """Clock ticks since boot."""
    cpu_ns: int
    reaped_cpu_ns: int
    """Of children that have ended and been waited for, and of theirs."""
    memory_bytes: int
    """Resident; pages shared by several processes count for each."""
    threads: int

    @property
    def alive(self) -> bool:
        """Whether it still runs code: a zombie only waits to be reaped."""
        return self.state not in "ZX"


def find_stat(pid: int) -> Stat | None:
    """Return the process's state, or None if there is none of that number that the caller may see."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            data = file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None  # denied where /proc is mounted with hidepid=1, and it is another user's
    # The name may hold spaces and parentheses; what follows its last parenthesis is plain.
    values = data[data.rindex(b")") + 2 :].split()

    def field(number: int) -> int:
        return int(values[number - _FIELDS_AFTER_COMM])

    return Stat(
        pid=pid,
        state=values[0].decode(),
        parent=field(4),
        start=field(22),
        cpu_ns=(field(14) + field(15)) * _NS_PER_TICK,
        reaped_cpu_ns=(field(16) + field(17)) * _NS_PER_TICK,
        memory_bytes=field(24) * _PAGE_SIZE,
        threads=field(20),
    )


def start_time(pid: int) -> int:
    """Return when the process began, in clock ticks since boot; 0 if it is gone."""
    stat = find_stat(pid)
    return stat.start if stat else 0


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def is_same_process(pid: int, start: int) -> bool:
    """Tell whether the process that had this number and start time still runs."""
    stat = find_stat(pid)
    return stat is not None and stat.start == start and stat.alive


def _all_stats() -> Iterator[Stat]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = find_stat(int(name))
            if stat is not None:
                yield stat


def descendants(ancestor: int) -> list[Stat]:
    """Return all processes below `ancestor`, without it, in no certain order."""
    children: dict[int, list[Stat]] = {}
    for stat in _all_stats():
        children.setdefault(stat.parent, []).append(stat)
    found: list[Stat] = []
    queue = [ancestor]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += [stat.pid for stat in below]
    return found


def first_child(parent: int) -> int | None:
    """Return the oldest of the processes that `parent` made or adopted; None if there is none."""
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    except OSError:
        return None
    return int(text.split()[0]) if text else None


def find_inside(number: int, ancestor: int) -> int | None:
    """Return the host's number of the process below `ancestor` that calls itself `number`; None if it is gone.

    One in a pid namespace of its own gives other numbers to itself and what is below it.
    """
    parent = number
    while (stat := find_stat(parent)) is not None and parent != ancestor:
        parent = stat.parent
    if parent == ancestor:
        return number
    for below in descendants(ancestor):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{below.pid}/status").read_text(encoding="utf-8", errors="replace")
            _, _, numbers = status.partition("\nNSpid:")
            numbers, _, _ = numbers.partition("\n")
            if numbers.split()[1:] and int(numbers.split()[-1]) == number:
                return below.pid
    return None


def leftovers(workload_id: str) -> list[Stat]:
    """Return the live processes that carry the workload's marker in their first environment.

    Sees what the caller may read: its own processes, or all for root.
    """
    wanted = f"{MARKER}={workload_id}".encode()
    found: list[Stat] = []
    if not workload_id:
        return found
    for stat in _all_stats():
        with contextlib.suppress(OSError):
            data = Path(f"/proc/{stat.pid}/environ").read_bytes()
            if stat.alive and wanted in data.split(b"\0"):
                found.append(stat)
    return found


def send(pid: int, start: int, number: int) -> bool:
    """Signal exactly that process; False if it is gone. Raises PermissionError."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The pidfd pins the number: if the start time fits now, it is the right process.
        if not is_same_process(pid, start):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def kill_leftovers(workload_id: str, timeout: float = 5.0) -> list[int]:
    """Kill every process with the workload's marker and wait until all are gone; return those that would not go."""
    deadline = time.monotonic() + timeout
    while remaining := leftovers(workload_id):
        # Stopped first, so that none of them forks away while the others are being killed.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for stat in remaining:
                with contextlib.suppress(PermissionError):
                    send(stat.pid, stat.start, number)
        if time.monotonic() >= deadline:
            break
        time.sleep(0.005)
    return [stat.pid for stat in remaining]
