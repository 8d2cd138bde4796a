"""Containers need nothing of Volt to run: without its installation they start with the host, stop and end as ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from volt_core.testing.hosts import SUITES
from volt_core.testing.hosts.site import VENV


@pytest.mark.parametrize("suite", SUITES)
def test_all_runs_without_the_installation(make_box: Callable[[str], Any], suite: str) -> None:
    box = make_box(suite)
    script = "trap 'exit 5' TERM; echo ready; sleep 1000 & wait; wait"
    box.volt("run", "--detach", "--restart", "always", "--name", "web", "box", "sh", "-c", script)
    box.volt("create", "--name", "other", "box", "sh", "-c", "exit 4")
    units = box.host.text("sh", "-c", "cat /etc/systemd/system/volt-*")
    assert "python" not in units.lower()
    assert VENV not in units

    box.host.run("rm", "-r", VENV, "/usr/local/bin/volt")
    box.restart()

    assert box.is_active("web")
    assert len(box.host.text("machinectl", "list", "--no-legend").splitlines()) == 1
    box.host.run("systemctl", "restart", "volt-container-web")
    assert box.is_active("web")
    box.host.run("systemctl", "stop", "volt-container-web")
    box.host.run("systemctl", "start", "volt-container-other")
    box.host.run("sh", "-c", "while systemctl is-active --quiet volt-container-other; do sleep 0.1; done", timeout=30)
    for name, code in (("web", 5), ("other", 4)):
        outcome = json.loads(box.host.text("cat", f"/var/lib/volt/containers/{name}/outcome.json"))
        assert (outcome["code"], outcome["result"]) == (code, "exited")
        assert not box.is_active(name)
