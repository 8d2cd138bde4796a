"""Which interpreters of a machine are found: those that start."""

from __future__ import annotations

import os
import pwd
import sys

import pytest

from volt_core.testing import host, pythons
from volt_core.testing.users import ORDINARY_USER


@pytest.fixture
def make_command():
    def make(path, status):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\nexit {status}\n")
        path.chmod(0o755)
        return path

    return make


def test_behind_a_shim_that_does_not_start_is_the_interpreter(make_command, tmp_path, monkeypatch):
    shim = make_command(tmp_path / "shims/python3.99", 127)
    monkeypatch.setenv("PATH", f"{shim.parent}:/usr/bin:/bin")
    assert pythons.find.__wrapped__("3.99") is None
    found = make_command(tmp_path / "versions/3.99.1/bin/python3.99", 0)
    assert pythons.find.__wrapped__("3.99") == str(found)


def test_another_version_of_that_name_is_none(tmp_path, monkeypatch):
    (tmp_path / "python3.99").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert pythons.find.__wrapped__("3.99") is None


@pytest.mark.needs_root
def test_a_closed_directory_holds_none(tmp_path, monkeypatch):
    (tmp_path / "closed/shims").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}/closed/shims:/usr/bin:/bin")
    os.seteuid(pwd.getpwnam(ORDINARY_USER).pw_uid)
    try:
        assert pythons.find.__wrapped__("3.99") is None
    finally:
        os.seteuid(0)


def test_what_was_promised_fails_where_it_is_lacking(monkeypatch):
    monkeypatch.delenv(host.REQUIRE_VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match="none here"):
        host.lack("pythons", "none here")
    monkeypatch.setenv(host.REQUIRE_VARIABLE, "pythons")
    with pytest.raises(pytest.fail.Exception, match="none here"):
        host.lack("pythons", "none here")
