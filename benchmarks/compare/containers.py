"""Containers under systemd beside the same work by hand, in a fresh test host of each suite.

Run it as ``python -m benchmarks.compare.containers``, as root. Prints Markdown: a table of comparisons, and where the
time of one run goes. With ``--podman`` it makes hosts in which podman is installed, and compares runs with podman's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from volt_core import __version__
from volt_core.testing import host
from volt_core.testing.hosts import SUITES, base, pool, site
from volt_core.testing.hosts.machine import Host

PODMAN = ("crun", "podman")
PODMAN_UNITS = ("podman-auto-update.service", "podman-restart.service", "podman.service")
"""Started with the host, in vain: podman's own folder would be an overlay on an overlay."""


def main(argv: Sequence[str] | None = None) -> None:
    """Boot, measure in there, take away."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, action="append", help="release of Debian (all)")
    parser.add_argument("--rounds", type=int, default=20, help="pairs per figure (default 20)")
    parser.add_argument("--many", type=int, default=50, help="containers at once (default 50)")
    parser.add_argument("--podman", action="store_true", help="runs beside those of podman instead")
    arguments = parser.parse_args(argv)
    if (reason := host.why_not("systemd")) is not None:
        parser.error(reason)
    hosts = pool.of_repository(Path.cwd())
    packages = (*base.PACKAGES, *PODMAN) if arguments.podman else base.PACKAGES
    options = ["--rounds", str(arguments.rounds), "--many", str(arguments.many)]
    options += ["--podman"] if arguments.podman else []
    with contextlib.closing(hosts):
        for suite in arguments.suite or SUITES:
            with hosts.make(suite, packages) as machine:
                mask(machine, PODMAN_UNITS)
                machine.boot()
                print(f"\n{describe(machine, arguments.rounds)}\n", flush=True)
                measure(machine, options)


def mask(machine: Host, units: Sequence[str]) -> None:
    """Keep units from being started with a host that is not up yet."""
    folder = machine.folder / "upper/etc/systemd/system"
    folder.mkdir(parents=True)
    for unit in units:
        folder.joinpath(unit).symlink_to(os.devnull)


def measure(machine: Host, options: Sequence[str]) -> None:
    """Measure in a host; what it prints goes to our own output."""
    words = [f"{site.VENV}/bin/python", "-m", "benchmarks.compare.containers_inside", *options]
    subprocess.run(machine.argv(words, cwd=pool.SOURCE), check=True)


def describe(machine: Host, rounds: int) -> str:
    """Say what is measured where."""
    systemd = machine.text("systemctl", "--version").splitlines()[0]
    cpus = len(os.sched_getaffinity(0))
    return f"volt {__version__}, {machine.suite}, {systemd}, {cpus} CPUs, {rounds} rounds; median [range]"


if __name__ == "__main__":
    main()
