"""Processes of a container as the host sees them: real ones in a pid namespace, and a /proc made by hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from volt_core.errors import BackendUnavailable
from volt_core.systemd import machine
from volt_core.systemd.machine import cgroup_of, find_leader, find_payload, start_ticks

GONE = 2**22 + 1
"""Larger than any pid."""


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc with nothing in it but mounts."""
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    tmp_path.joinpath("self").mkdir()
    tmp_path.joinpath("self/mounts").write_text("proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    return tmp_path


@pytest.fixture
def namespace() -> Iterator[int]:
    """A process whose child is the first of a pid namespace, which has a child of its own."""
    script = "sleep 1000 & echo ready; wait"
    argv = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()


@pytest.mark.needs_root
def test_the_leader_is_the_first_process_of_the_namespace(namespace: int) -> None:
    leader = find_leader(namespace)
    assert leader is not None
    assert Path(f"/proc/{leader}/comm").read_text() == "sh\n"
    payload = find_payload(leader, 2)
    assert Path(f"/proc/{leader}/task/{leader}/children").read_text().split() == [str(payload)]
    assert find_payload(leader, 1) is None, "the leader is no child of its own"
    assert find_payload(leader, 99) is None
    assert find_leader(leader) is None, "its child is not the first"


def test_what_has_ended_has_neither_leader_nor_time() -> None:
    assert find_leader(GONE) is None
    assert find_leader(0) is None
    assert find_payload(GONE, 1) is None
    assert start_ticks(GONE) is None
    assert start_ticks(os.getpid()) is not None


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/machine.slice/x.service/payload\n", "machine.slice/x.service/payload"),
        ("12:cpu:/a\n1:name=systemd:/b\n0::/c\n", "c"),
        ("0::/\n", ""),
    ],
)
def test_the_cgroup_is_that_of_the_unified_hierarchy(proc: Path, text: str, path: str) -> None:
    proc.joinpath("7").mkdir()
    proc.joinpath("7/cgroup").write_text(text)
    assert cgroup_of(7) == Path("/sys/fs/cgroup") / path
    proc.joinpath("self/mounts").write_text("cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n")
    assert cgroup_of(7) == Path("/sys/fs/cgroup/unified") / path


def test_a_host_without_the_unified_hierarchy_is_said(proc: Path) -> None:
    proc.joinpath("7").mkdir()
    proc.joinpath("7/cgroup").write_text("12:cpu:/a\n")
    with pytest.raises(BackendUnavailable, match="no unified cgroup hierarchy"):
        cgroup_of(7)
    proc.joinpath("7/cgroup").write_text("0::/a\n")
    proc.joinpath("self/mounts").write_text("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n")
    with pytest.raises(BackendUnavailable, match="no unified cgroup hierarchy"):
        cgroup_of(7)


def test_the_cgroup_of_what_has_ended(proc: Path) -> None:
    with pytest.raises(ProcessLookupError):
        cgroup_of(7)
