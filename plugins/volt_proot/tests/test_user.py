"""Without root: the same containers for an ordinary user."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_core import run

pytestmark = [pytest.mark.needs_proot, pytest.mark.needs_busybox, pytest.mark.needs_ordinary_user]
SESSION = Path(__file__).with_name("user_session.py")


@pytest.mark.needs_user_namespaces
def test_an_ordinary_user_runs_containers_with_read_only_mounts(as_user: Callable[..., run.Completed]) -> None:
    # Through stdin: the sources may lie where that user may not read.
    seen = json.loads(as_user([sys.executable, "-"], stdin=SESSION.read_bytes()).stdout)
    assert seen.pop("uid") != 0
    assert seen.pop("read-only").startswith("oldsh: can't create /ro/file: Read-only file system")
    root = seen.pop("root")
    assert root.endswith("fine\n")
    assert "touch: /new: Read-only file system" in root
    assert seen == {
        "probe": True,
        "id": "0\n",
        "chown": "644\n",
        "made": "made\n",
        "running": "running",
        "exec": 9,
        "stopped": "killed by SIGTERM",
        "log": ["up"],
        "left": 0,
    }
