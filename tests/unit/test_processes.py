"""What ``/proc`` tells of processes, where it tells little and where it tells much."""

from __future__ import annotations

import os
import sys

import pytest

from volt_core import processes, run
from volt_core.testing import users

_HIDE = 'mount -t proc -o hidepid=1 proc /proc && exec "$@"'
_LOOK = """
import os
from volt_core import processes
assert not os.access("/proc/1/stat", os.R_OK)
assert processes.find_stat(1) is None
assert os.getpid() in {stat.pid for stat in processes.descendants(os.getppid())}
assert [stat.pid for stat in processes.leftovers("of-the-test")] == [os.getpid()]
"""
# The marker counts in the first environment of a process.
_START = """
import os, subprocess, sys
from volt_core.processes import MARKER
subprocess.run([sys.executable, "-c", os.environ["LOOK"]], env={MARKER: "of-the-test"}, check=True)
"""


@pytest.mark.needs_root
@pytest.mark.needs_loop_mount
@pytest.mark.needs_ordinary_user
def test_processes_that_proc_hides_are_passed_over() -> None:
    look = users.as_user_argv(sys.executable, "-c", _START)
    env = {"PATH": os.environ["PATH"], "LOOK": _LOOK}
    run.run(["unshare", "--mount", "sh", "-c", _HIDE, "sh", *look], timeout=60, env=env, cwd="/")


@pytest.mark.needs_root
def test_a_process_is_found_by_the_number_that_it_has_for_itself() -> None:
    with run.start(["unshare", "--pid", "--fork", "--kill-child", "sleep", "1000"]) as outer:
        while (inner := processes.first_child(outer.pid)) is None:
            pass
        assert processes.find_inside(inner, outer.pid) == inner
        assert processes.find_inside(1, outer.pid) == inner
        assert processes.find_inside(2, outer.pid) is None
        assert processes.find_inside(os.getpid(), outer.pid) is None
        outer.kill()
