"""What is said where bubblewrap does not work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from volt_bwrap import probe
from volt_core import run
from volt_core.models.extension import Verdict


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """What the host really can is asked once, and so is what these tests say of it."""
    probe.probe.cache_clear()
    yield
    probe.probe.cache_clear()


def forbid(argv: Sequence[str], **_: object) -> NoReturn:
    assert argv[0] == "bwrap"
    raise run.failure(argv, 1, b"bwrap: No permissions to create new namespace")


def test_a_missing_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe.run, "find_program", lambda name: None)
    found = probe.probe()
    assert (found.available, found.reason) == (False, "bubblewrap is not installed")
    assert "package bubblewrap" in found.hint


def test_without_init(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe.run, "find_program", lambda name: Path("/usr/bin", name))
    monkeypatch.setattr(probe, "find_init", lambda: None)
    assert "C compiler" in probe.probe().hint


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("kernel.unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        ("user.max_user_namespaces", "0", "sysctl user.max_user_namespaces="),
        ("", "", "container runtime"),
    ],
)
def test_forbidden_namespaces(monkeypatch: pytest.MonkeyPatch, setting: str, value: str, advice: str) -> None:
    monkeypatch.setattr(probe.run, "find_program", lambda name: Path("/usr/bin", name))
    monkeypatch.setattr(probe, "find_init", lambda: Path("/bin/init"))
    monkeypatch.setattr(probe.run, "run", forbid)
    monkeypatch.setattr(probe.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(probe, "_read", lambda name: value if name == setting else "not this")
    found = probe.probe()
    assert not found.available
    assert found.reason == "bwrap cannot run a program here: bwrap: No permissions to create new namespace"
    assert advice in found.hint
    assert [(check.verdict, check.what) for check in probe.checks()] == [(Verdict.MISSING, found.reason)]
