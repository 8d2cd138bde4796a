"""A shell, or a command, in a fresh test host: ``python -m volt_core.testing.hosts [--suite SUITE] [CMD...]``.

What is installed in it stands in the pytest settings of the repository that it is called in, as for the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from volt_core import run
from volt_core.errors import VoltError
from volt_core.testing import host
from volt_core.testing.hosts import SUITES, pool
from volt_core.testing.hosts.machine import Host

_SHELL = ("bash", "-l")


def main(words: Sequence[str]) -> int:
    """Boot, run, take away; return the exit status of the command."""
    parser = argparse.ArgumentParser(prog="./dev host", description="Open a shell in a fresh host with systemd.")
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0], help="release of Debian (%(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="what to run instead of a shell")
    options = parser.parse_args(words)
    if (reason := host.why_not("systemd")) is not None:
        parser.exit(1, f"{parser.prog}: {reason}\n")
    for number in (signal.SIGTERM, signal.SIGHUP):
        # The host is taken away on any way out.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    hosts = pool.of_repository(Path.cwd())
    try:
        with contextlib.closing(hosts):
            command = options.command[1:] if options.command[:1] == ["--"] else options.command
            return _run(hosts.shared(options.suite), command or _SHELL)
    except VoltError as error:
        parser.exit(1, f"{parser.prog}: {error}\n{error.details or ''}\n")
    except KeyboardInterrupt:
        return 130


def _run(machine: Host, command: Sequence[str]) -> int:
    if os.isatty(0):
        # A terminal of the host's own: the caller's has no name in there, and no session.
        command = ["script", "--quiet", "--return", "--flush", "--command", shlex.join(command), os.devnull]
    terminal = {"TERM": os.environ.get("TERM", "dumb")}
    argv = machine.argv(command, env=terminal)
    with run.spawn(argv, env=run.child_environment(), stdin=0, stdout=1, stderr=2, new_session=False) as process:
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
