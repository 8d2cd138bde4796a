"""The comparisons that need a host with systemd, once and with few containers, so that they do not rot."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.compare import containers
from volt_core.testing.hosts.machine import Host


def test_containers_are_compared(make_host: Callable[[str], Host]) -> None:
    containers.measure(make_host("trixie"), ["--rounds", "1", "--many", "2"])
