"""Hosts on which Volt was installed without a compiler: what a power cut leaves."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from volt_core.testing.hosts import SUITES
from volt_core.testing.hosts.machine import Host

_STRIP = "rm /opt/volt/lib/python3*/site-packages/volt_core/_bin/[a-z]*"


@pytest.mark.parametrize("suite", SUITES)
def test_containers_after_a_power_cut(make_host: Callable[[str], Host], suite: str) -> None:
    machine = make_host(suite)
    machine.run("sh", "-c", _STRIP)
    machine.run("volt", "image", "import", "/srv/debian", "debian")
    for name, policy in (("on", "always"), ("off", "no")):
        machine.run("volt", "run", "-d", "--name", name, "--restart", policy, "debian", "sleep", "infinity")
    machine.run("sync")
    machine.cut_power()
    machine.boot()
    assert machine.text("volt", "ps", "--quiet") == "on"
    (state,) = (item["state"] for item in json.loads(machine.text("volt", "inspect", "off"))["items"])
    assert (state["status"], state["outcome"]["result"]) == ("failed", "lost")
    assert state["outcome"]["invocation"], "the log of the run that was cut off is found by it"
    machine.run("volt", "start", "off")
    machine.run("volt", "delete", "--force", "on", "off")
    left = "ls -d /etc/systemd/system/volt-* /etc/systemd/system/*/volt-* /var/lib/volt/containers/* 2>/dev/null"
    assert machine.text("sh", "-c", left, ok=(0, 2)) == ""
