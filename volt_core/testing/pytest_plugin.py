"""The pytest plugin of Volt's tests; a root ``conftest.py`` loads it with ``pytest_plugins``.

It carries out the ``needs_*`` markers, says in the header what the host can do, keeps the caller's
environment out of every test, and has the fixtures that more than one package uses.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from volt_core import run
from volt_core.paths import VoltPaths
from volt_core.testing import host, roots, users

AsUser = Callable[..., run.Completed]
_MARKER = "needs_"
# How the tests themselves are run stays visible to the programs that they start.
_KEPT = ("VOLT_TEST_", "VOLT_NATIVE")
# Costly or changing something for a moment: not worth it in each header.
_UNASKED = ("loop_mount", "xfs_reflink", "kvm")


def pytest_configure(config: pytest.Config) -> None:
    """Register a marker for each capability; stop at a misspelt requirement."""
    try:
        host.required()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    for capability in host.PROBES:
        config.addinivalue_line("markers", f"{_MARKER}{capability}: needs the capability '{capability}' of the host")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what the host can do."""
    lines = []
    for capability in host.PROBES:
        if capability not in _UNASKED:
            reason = host.why_not(capability)
            lines.append(f"  {capability}: {'yes' if reason is None else f'no, {reason}'}")
    return ["host:", *lines]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Carry out the markers before any fixture is made."""
    for marker in item.iter_markers():
        if marker.name.startswith(_MARKER):
            host.require(marker.name.removeprefix(_MARKER))


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def _clean_environment(_homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins without the caller's Volt, XDG folders and home."""
    home = Path(tempfile.mkdtemp(dir=_homes))
    for name in tuple(os.environ):
        if name.startswith(("VOLT_", "XDG_")) and not name.startswith(_KEPT):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def paths(tmp_path: Path) -> VoltPaths:
    """An instance of its own, with its directories."""
    instance = VoltPaths.below(tmp_path / "volt")
    instance.prepare()
    return instance


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real root file system; shared, so never write to it."""
    host.require("busybox")
    return roots.make_busybox_root(tmp_path_factory.mktemp("busybox") / "root")


_CACHE = roots.cache_directory()  # before HOME is another


@pytest.fixture(scope="session")
def debian_tar() -> Path:
    """The tar of a minimal Debian, made on the first run on this machine (a minute or two, needs a mirror)."""
    host.require("mmdebstrap")
    return roots.debian_tar(_CACHE)


@pytest.fixture
def user_directory() -> Iterator[Path]:
    """A directory that belongs to the user of :func:`as_user`; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="volt-user-"))
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam(users.ORDINARY_USER)
            os.chown(path, user.pw_uid, user.pw_gid)
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def as_user(user_directory: Path) -> AsUser:
    """Run a program without root: ``as_user([...], timeout=10)``, by :func:`volt_core.run.run`.

    HOME and the working directory are `user_directory` unless told otherwise. ``sys.executable`` at the front
    stands for a Python that such a user can start.
    """
    host.require("ordinary_user")

    def run_as_user(
        argv: list[str], *, timeout: float = 60.0, env: Mapping[str, str] | None = None, **options: object
    ) -> run.Completed:
        environment = {"HOME": str(user_directory), "USER": users.ORDINARY_USER, **(env or {})}
        settings: dict[str, object] = {"cwd": user_directory, **options}
        return run.run(users.as_user_argv(*argv), timeout=timeout, env=environment, **settings)  # type: ignore[arg-type]

    return run_as_user
