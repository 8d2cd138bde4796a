"""The pytest plugin of Volt's tests, loaded by the setting ``volt = true`` or by ``pytest_plugins``; see :mod:`.entry`.

It carries out the ``needs_*`` markers, says in the header what the host can do, keeps the caller's
environment out of every test, has the fixtures that more than one package uses, and quotes the promise that a case of a
kit is about when it fails.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest

from volt_core import run
from volt_core.contracts import Limits
from volt_core.paths import VoltPaths
from volt_core.testing import host as capabilities
from volt_core.testing import promises, roots, users
from volt_core.testing.gate import facets_for
from volt_core.testing.hosts import SUITES, VIRTUAL, forward, inside, pool
from volt_core.testing.hosts.machine import Host

AsUser = Callable[..., run.Completed]
_MARKER = "needs_"
# How the tests themselves are run stays visible to the programs that they start.
_KEPT = ("VOLT_TEST_", "VOLT_NATIVE")
# Costly or changing something for a moment: not worth it in each header.
_UNASKED = ("clang", "loop_mount", "xfs_reflink", "kvm")
_IN_HOSTS = "systemd"
_CONTROLLERS = "cgroup_controllers"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings that say what is installed in test hosts."""
    pool.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register a marker for each capability; stop at a misspelt requirement."""
    try:
        capabilities.required()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    for capability in capabilities.PROBES:
        config.addinivalue_line("markers", f"{_MARKER}{capability}: needs the capability '{capability}' of the host")
    config.pluginmanager.register(inside.Inside(config) if inside.is_told() else forward.Outside())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have tests that need systemd run in hosts, if there can be any: of each suite, or in the one with controllers."""
    if not metafunc.definition.get_closest_marker(f"{_MARKER}{_IN_HOSTS}"):
        return
    if here := inside.suite_here():
        forward.parametrize(metafunc, [here])
    elif pool.is_set_up(metafunc.config) and capabilities.have(_IN_HOSTS):
        virtual = _takes_controllers(metafunc) and capabilities.have("virtual_host")
        forward.parametrize(metafunc, [VIRTUAL] if virtual else SUITES)


def _takes_controllers(metafunc: pytest.Metafunc) -> bool:
    if metafunc.definition.get_closest_marker(f"{_MARKER}{_CONTROLLERS}"):
        return True
    return metafunc.cls is not None and Limits in facets_for(metafunc.cls, metafunc.function.__name__)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what the host can do."""
    lines = []
    for capability in capabilities.PROBES:
        if capability not in _UNASKED:
            reason = capabilities.why_not(capability)
            lines.append(f"  {capability}: {'yes' if reason is None else f'no, {reason}'}")
    return ["host:", *lines]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Carry out the markers before any fixture is made."""
    for marker in item.iter_markers():
        if marker.name.startswith(_MARKER):
            capabilities.require(marker.name.removeprefix(_MARKER))
    if item.get_closest_marker(f"{_MARKER}{_IN_HOSTS}") and not inside.suite_here():
        # It would make and end units on the machine of whoever runs it.
        pytest.fail("it runs in test hosts alone, and the settings of pytest do not say what to install there", False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Quote the promise beside the failure."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        report.sections += promises.quotations(item.cls, item.originalname)
    return report


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
    capabilities.require("busybox")
    return roots.make_busybox_root(tmp_path_factory.mktemp("busybox") / "root")


_CACHE = roots.cache_directory()  # before HOME is another


@pytest.fixture(scope="session")
def debian_tar() -> Path:
    """The tar of a minimal Debian, made on the first run on this machine (a minute or two, needs a mirror)."""
    capabilities.require("mmdebstrap")
    return roots.debian_tar(_CACHE)


@pytest.fixture(params=SUITES)
def host(request: pytest.FixtureRequest) -> Host:
    """A test host of each suite, booted, with the wheels of this repository; shared, so leave it as it was."""
    capabilities.require(_IN_HOSTS)
    return pool.of_session(request.config).shared(request.param)


@pytest.fixture
def make_host(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Host]]:
    """Boot more test hosts: ``make_host("bookworm")``; they are gone after the test, whatever it did to them."""
    capabilities.require(_IN_HOSTS)
    with contextlib.ExitStack() as stack:
        yield lambda suite: stack.enter_context(pool.of_session(request.config).make(suite)).boot()


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
    capabilities.require("ordinary_user")

    def run_as_user(
        argv: list[str], *, timeout: float = 60.0, env: Mapping[str, str] | None = None, **options: object
    ) -> run.Completed:
        environment = {"HOME": str(user_directory), "USER": users.ORDINARY_USER, **(env or {})}
        settings: dict[str, object] = {"cwd": user_directory, **options}
        return run.run(users.as_user_argv(*argv), timeout=timeout, env=environment, **settings)  # type: ignore[arg-type]

    return run_as_user
