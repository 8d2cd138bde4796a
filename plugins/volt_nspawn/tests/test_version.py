"""Which systemd nspawn belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from volt_core import run
from volt_core.errors import CommandFailed
from volt_nspawn.probe import find_version


def make_program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("library", ["libsystemd-shared-252.so", "libsystemd-shared-252.4-1.fc37.so"])
def test_the_library_tells_and_nothing_is_run(tmp_path, library):
    # No program at all: a mere look.
    path = tmp_path / "nspawn"
    path.write_bytes(b"\x7fELF\0libsystemd-shared-\0" + library.encode() + b"\0")
    assert find_version(path) == 252


@pytest.mark.parametrize(("text", "version"), [("echo 'systemd 255 (255.4-1)'", 255), ("echo something else", 0)])
def test_one_that_is_linked_otherwise_is_asked(tmp_path, text, version):
    assert find_version(make_program(tmp_path / "nspawn", text)) == version


def test_one_that_does_not_run_is_an_error(tmp_path):
    with pytest.raises(CommandFailed):
        find_version(make_program(tmp_path / "nspawn", "exit 1"))


@pytest.mark.needs_systemd
def test_nspawn_itself_tells_the_same():
    program = run.need_program("systemd-nspawn")
    said = run.run([program, "--version"], timeout=10).stdout
    assert said.startswith(f"systemd {find_version(Path(program))} ".encode())
