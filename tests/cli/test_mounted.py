"""What root mounted inside a container, where nothing keeps the host from seeing it."""

from __future__ import annotations

import subprocess

import pytest

from volt_core import run
from volt_core.models.workload import Kind
from volt_core.paths import VoltPaths

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_proot]


@pytest.fixture
def busy(box):
    """Something below ``data dir`` of the container ``web``, which is to be made."""
    points = [VoltPaths.below(box.root).workload(Kind.CONTAINER, "web") / "data dir" / "on it"]

    def mount():
        points[0].mkdir(parents=True)
        run.run(["mount", "-t", "tmpfs", "tmpfs", str(points[0])], timeout=10)
        return points[0]

    yield mount
    run.run(["umount", "-l", str(points[0])], timeout=10)


def test_delete_refuses_before_anything_is_removed(box, busy):
    box.ok("create", "--name", "web", "box", "true")
    point = busy()
    for words in (["delete", "web"], ["delete", "--force", "web"]):
        assert box(*words) == (
            4,
            "",
            f"Error: Cannot delete container 'web': something is mounted at '{point}'. "
            f"(Unmount it first: umount '{point}')\n",
        )
    assert box.ok("ps", "-aq") == "web\n"
    assert box.ok("start", "web") == "web\n"
    box.ok("wait", "web")


def test_run_ends_as_its_command(box, busy):
    words = ["run", "--rm", "-i", "--name", "web", "box", "sh", "-c", "echo up; read line; exit 3"]
    pipe = subprocess.PIPE
    with box.start(*words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout.readline() == b"up\n"
        point = busy()
        _, err = process.communicate(b"go\n", timeout=30)
    assert process.returncode == 3
    assert err.decode().startswith("Warning: 'web' is not removed: Cannot delete container 'web': something is")
    assert f"umount '{point}'" in err.decode()
    assert box.ok("ps", "-aq") == "web\n"
