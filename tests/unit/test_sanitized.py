"""The extension under AddressSanitizer and UndefinedBehaviorSanitizer, called by Python as it is in earnest."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from volt_core.testing import host

pytestmark = pytest.mark.needs_c_compiler

ROOT = Path(__file__).parents[2]
CAS = "plugins/volt_cas/tests"
CALLERS = ["tests/unit/test_native.py", *(f"{CAS}/test_{name}.py" for name in ("round_trip", "engines"))]
"""Tests that go through all of the calls; ./dev test --sanitize runs others."""


def make_python(folder: Path, *sanitizers: str) -> Path:
    """Make an interpreter that loads a sanitized extension."""
    host.require("native")
    argv = [sys.executable, ROOT / "tools/sanitized.py", folder, *sanitizers]
    made = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return folder / "bin/python"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under the two that look at memory."""
    return make_python(tmp_path_factory.mktemp("sanitized"))


def run(python: Path, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOLT_", "PYTHON"))}
    return subprocess.run(
        [python, *arguments],
        cwd=ROOT,
        env={**kept, "VOLT_NATIVE": "c", "VOLT_TEST_REQUIRE": "native", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_byte_too_many_is_seen(python):
    """What the extension writes behind a buffer of Python's, where the interpreter alone would see nothing."""
    code = "ffi.new('unsigned char[]', {}), ffi.new('uint64_t *')"
    call = f"from volt_core._native import ffi, lib; print(lib.volt_hash_file(0, {code}))"
    right = run(python, "-c", call.format(32))
    assert (right.returncode, right.stdout) == (0, "0\n"), right.stderr
    wrong = run(python, "-c", call.format(31))
    assert wrong.returncode != 0
    assert "AddressSanitizer" in wrong.stderr
    assert "volt_hash_file" in wrong.stderr


def test_nothing_is_seen_in_the_tests_of_its_callers(python):
    # The Debian tree takes as long as all the rest, and has no kind of file that the others lack. Of each test that
    # runs on both engines, what runs the Python code has nothing to show.
    def call(path: str) -> subprocess.CompletedProcess[str]:
        return run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not debian and not python", path)

    with ThreadPoolExecutor() as pool:
        for done in pool.map(call, CALLERS):
            assert done.returncode == 0, done.stdout + done.stderr
            assert " passed" in done.stdout.splitlines()[-1]


def test_threads_do_not_race(tmp_path):
    """What runs in threads, through the command line; ThreadSanitizer makes the status of a race 66."""
    python = make_python(tmp_path / "python", "thread")
    assert "libtsan" in run(python, "-c", "print(open('/proc/self/maps').read())").stdout
    source = tmp_path / "source"
    for number in range(600):
        path = source / str(number % 7) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % (number % 500) * (number * 20))

    def volt(*words: str | Path) -> str:
        done = run(python, "-m", "volt_core", *words, VOLT_ROOT=str(tmp_path / "root"))
        assert done.returncode == 0, done.stderr
        assert "ThreadSanitizer" not in done.stderr
        return done.stdout

    first = volt("cas", "build", source, "--ref", "tree").splitlines()[0]
    (source / "0/0").write_bytes(b"changed")
    assert volt("cas", "build", source, "--ref", "tree").splitlines()[0] != first
    volt("cas", "checkout", "tree", tmp_path / "checkout")
    assert (tmp_path / "checkout/0/0").read_bytes() == b"changed"
    volt("cas", "checkout", "tree", tmp_path / "linked", "--link")
    volt("cas", "verify")
    volt("cas", "gc")
