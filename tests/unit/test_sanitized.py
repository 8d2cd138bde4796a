"""The extension under AddressSanitizer and UndefinedBehaviorSanitizer, called by Python as it is in earnest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from volt_core.testing import host

pytestmark = pytest.mark.needs_c_compiler

ROOT = Path(__file__).parents[2]
CAS = "plugins/volt_cas/tests"
CALLERS = ["tests/unit/test_native.py", *(f"{CAS}/test_{name}.py" for name in ("round_trip", "links", "gc_verify"))]
"""Tests that go through all of the calls; ./dev test --sanitize runs others."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that loads a sanitized extension."""
    host.require("native")
    folder = tmp_path_factory.mktemp("sanitized")
    made = subprocess.run(
        [sys.executable, ROOT / "tools/sanitized.py", folder], capture_output=True, text=True, timeout=300, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return folder / "bin/python"


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VOLT_")}
    return subprocess.run(
        [python, *arguments],
        cwd=ROOT,
        env={**kept, "VOLT_NATIVE": "c", "VOLT_TEST_REQUIRE": "native"},
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
    # The Debian tree takes as long as all the rest, and has no kind of file that the others lack.
    done = run(python, "-m", "pytest", "-q", "-k", "not debian", *CALLERS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout.splitlines()[-1]
