"""Tests that need systemd run in hosts: what is reported here is what happened there, also when it stops."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_core.testing import host, roots
from volt_core.testing.hosts import SUITES, pool

ROOT = Path(__file__).parents[2]
TESTS = """
import os
import pytest

pytestmark = pytest.mark.needs_systemd


@pytest.mark.parametrize("word", ["a b", "[x]::y", "\\u00e9"])
def test_good(word):
    with open("/proc/1/comm") as comm:
        assert comm.read() == "systemd\\n"
    print("not a report")
    os.write(1, b"nor is this\\n")


def test_bad():
    assert 1 == 2, "as it is"


def test_skipped():
    pytest.skip("for a reason")


@pytest.fixture
def broken():
    raise RuntimeError("no such thing")


def test_error(broken):
    pass
"""
DEADLY = """
import os
import pytest

pytestmark = pytest.mark.needs_systemd


def test_before():
    pass


def test_deadly():
    os._exit(3)


def test_after():
    pass
"""
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run tests in a copy of this repository, whose wheels are those that were built for this one."""
    host.require("systemd")
    tree = tmp_path / "tree"
    subprocess.run(["sh", ROOT / "tools/export-tree.sh", tree], check=True)

    def run_in_copy(source: str, *options: str) -> str:
        (tree / "tests/test_forwarded.py").write_text(source)
        argv = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "-rA", "--color=no"]
        environment = {**os.environ, roots.CACHE_VARIABLE: str(pool.CACHE.parent), "VOLT_TEST_REQUIRE": "systemd"}
        done = subprocess.run(
            [*argv, *options, "tests/test_forwarded.py"], cwd=tree, env=environment, capture_output=True, check=False
        )
        return done.stdout.decode() + done.stderr.decode()

    return run_in_copy


def test_what_happens_in_a_host_is_reported_here(run: Run) -> None:
    said = run(TESTS)
    for suite in SUITES:
        for word in ("a b", "[x]::y", "\\xe9"):
            assert f"PASSED tests/test_forwarded.py::test_good[{suite}-{word}]" in said
        assert f"FAILED tests/test_forwarded.py::test_bad[{suite}] - AssertionError: as it is" in said
        assert f"ERROR tests/test_forwarded.py::test_error[{suite}]" in said
        assert f"journal of {suite}" in said
    assert "for a reason" in said
    assert "2 failed, 6 passed, 2 skipped, 2 errors" in said


def test_one_test_can_be_chosen(run: Run) -> None:
    assert "3 passed, 9 deselected" in run(TESTS, "-k", "test_good and trixie")


def test_what_a_host_did_not_come_to_has_failed(run: Run) -> None:
    said = run(DEADLY)
    for suite in SUITES:
        assert f"PASSED tests/test_forwarded.py::test_before[{suite}]" in said
        assert f"FAILED tests/test_forwarded.py::test_deadly[{suite}]" in said
        assert f"FAILED tests/test_forwarded.py::test_after[{suite}]" in said
        assert f"{suite}: pytest in the host ended before this test" in said
