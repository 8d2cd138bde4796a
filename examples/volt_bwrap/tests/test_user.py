"""Without root: the same containers for an ordinary user, in user namespaces."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import volt_bwrap
from volt_core import run

pytestmark = [
    pytest.mark.needs_bwrap,
    pytest.mark.needs_busybox,
    pytest.mark.needs_native,
    pytest.mark.needs_ordinary_user,
    pytest.mark.needs_user_namespaces,
]
SESSION = Path(__file__).with_name("user_session.py")


@pytest.fixture
def python_path(user_directory: Path) -> str:
    """The plugin where that user may read it: the sources may lie below a closed home."""
    shutil.copytree(Path(volt_bwrap.__file__).parent, user_directory / "src/volt_bwrap")
    return os.pathsep.join([str(user_directory / "src"), os.environ.get("PYTHONPATH", "")])


@pytest.mark.parametrize("root", ["overlay", "copy"])
def test_an_ordinary_user_runs_containers(as_user: Callable[..., run.Completed], python_path: str, root: str) -> None:
    env = {"PYTHONPATH": python_path}
    seen = json.loads(as_user([sys.executable, "-", root], stdin=SESSION.read_bytes(), env=env).stdout)
    assert seen.pop("uid") != 0
    assert seen.pop("read-only").startswith("oldsh: can't create /ro/file: Read-only file system")
    read_only_root = seen.pop("root")
    assert read_only_root.endswith("fine\n")
    assert "touch: /new: Read-only file system" in read_only_root
    assert "as another user: without root a container has one" in seen.pop("as another user")
    assert seen == {
        "probe": True,
        "overlay": root == "overlay",
        "id": "0\n",
        "www": "33:33\n",
        "made": "made\n",
        "changed": "gone\n",
        "running": "running",
        "exec": 9,
        "exec in www": "33:33\n",
        "stopped": "killed by SIGTERM",
        "log": ["up"],
        "deleted": True,
    }
