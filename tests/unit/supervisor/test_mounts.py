"""Mounts that only one workload sees, in a process that goes with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_core import run
from volt_core.testing.users import user_python

_OVERLAY = """
import os, sys
from pathlib import Path
from volt_core.supervisor.model import PrivateMount
from volt_core.supervisor.mounts import enter_private
place = Path(sys.argv[1])
lower, upper, work, target = (place / name for name in ("lower", "upper", "work", "target"))
for directory in (lower / "kept", upper, work, target):
    directory.mkdir(parents=True)
(lower / "file").write_text("of the image")
enter_private([PrivateMount(type="overlay", target=str(target), source=str(lower), upper=str(upper), work=str(work))])
assert (target / "file").read_text() == "of the image"
(target / "file").write_text("changed")
(target / "kept").rmdir()
(target / "kept").mkdir()
(target / "new").touch()
"""


def check(place: Path) -> None:
    assert (place / "lower/file").read_text() == "of the image"
    assert (place / "upper/file").read_text() == "changed"
    assert sorted(os.listdir(place / "upper")) == ["file", "kept", "new"]
    assert os.listdir(place / "target") == []


@pytest.mark.needs_root
@pytest.mark.parametrize("name", ["plain", "a,b:c", "a\\b c"])
def test_an_overlay_takes_what_is_written(tmp_path: Path, name: str) -> None:
    run.run([user_python(), "-c", _OVERLAY, str(tmp_path / name)], timeout=60, env=_path())
    check(tmp_path / name)


@pytest.mark.needs_ordinary_user
@pytest.mark.needs_user_namespaces
@pytest.mark.needs_user_xattrs
def test_an_overlay_of_an_ordinary_user(as_user: Callable[..., run.Completed], user_directory: Path) -> None:
    as_user([user_python(), "-c", _OVERLAY, str(user_directory / "place")], env=_path())
    check(user_directory / "place")


def _path() -> dict[str, str]:
    return {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
