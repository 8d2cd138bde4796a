"""Run a program and report what it took: ``python -I -S spawn.py PROGRAM [ARGUMENT...]``, a line of JSON on stdout.

A process of its own, and a small one, because of peak memory: in a child's ``ru_maxrss`` the kernel counts what
its parent had when it forked, so a large program that measures small ones would find them all as large as itself.
"""

import json
import os
import sys
import time


def main() -> None:
    """Run it with its output thrown away, wait for it and for all that it started, and print."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)]
    began = time.perf_counter()
    child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=actions)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - began
    cpu = usage.ru_utime + usage.ru_stime
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": usage.ru_maxrss * 1024, "status": code}))


if __name__ == "__main__":
    main()
