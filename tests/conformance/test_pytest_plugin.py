"""The plugin of pytest: found where Volt is installed, silent to who does not ask; it quotes what a failure breaks."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from volt_core.testing.promises import promises, promises_of

ROOT = Path(__file__).parents[2]
KIT = """
    import pytest
    from volt_core.contracts import BackendContext
    from volt_core.testing.fakes import DummyService, MemoryStore
    from volt_core.testing.lifecycle_kit import BackendLifecycleKit
    from volt_core.testing.payloads import FakePayload
    from volt_core.models.workload import ServiceSpec

    class Restless(DummyService):
        def stop(self, workload, timeout):
            if timeout:
                self.kill(workload, 9)
            super().stop(workload, timeout)

    class TestRestless(BackendLifecycleKit):
        payload = FakePayload()

        @pytest.fixture
        def backend(self, paths):
            return Restless(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))

        @pytest.fixture
        def image(self):
            return ""

        def make_spec(self, image, command, **changes):
            return ServiceSpec(command=tuple(command), **changes)
    """


@pytest.fixture
def installed(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory of tests, where the entry points for pytest are as if Volt were installed."""
    metadata = pytester.mkdir("site") / "volt_core_of_tests-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: volt-core-of-tests\nVersion: 1\n")
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    lines = (f"{name} = {target}" for name, target in points.items())
    (metadata / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    return pytester


def run_tests(suite: pytest.Pytester, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as its user would, in another process."""
    path = os.pathsep.join([str(suite.path / "site"), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "VOLT_MINE": "1"}
    argv = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", *words]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=suite.path
    )


def test_a_suite_that_does_not_ask_for_it_has_none_of_it(installed: pytest.Pytester) -> None:
    installed.makepyprojecttoml(
        "[tool.pytest.ini_options]\nmarkers = ['needs_luck: mine']\naddopts = '--strict-config'"
    )
    installed.makepyfile(
        """
        import os, sys, pytest

        @pytest.mark.needs_luck
        def test_of_something_else():
            assert "VOLT_MINE" in os.environ
            assert "volt_core.testing.entry" in sys.modules
            assert "volt_core.testing.pytest_plugin" not in sys.modules
            assert not [name for name in sys.modules if name in ("msgspec", "volt_core.paths", "volt_core.contracts")]

        def test_without(paths): ...
        """
    )
    done = run_tests(installed)
    assert "fixture 'paths' not found" in done.stdout
    assert "1 passed, 1 error" in done.stdout
    assert "\nhost:" not in done.stdout


@pytest.mark.parametrize("how", ["setting", "conftest", "both"])
def test_a_suite_asks_for_it(installed: pytest.Pytester, how: str) -> None:
    if how != "conftest":
        installed.makepyprojecttoml("[tool.pytest.ini_options]\nvolt = true")
    if how != "setting":
        installed.makeconftest('pytest_plugins = ["volt_core.testing.pytest_plugin"]')
    installed.makepyfile(
        """
        import os, pytest

        @pytest.mark.needs_root
        def test_with(paths, pytestconfig):
            assert paths.store and "VOLT_MINE" not in os.environ
        """
    )
    done = run_tests(installed, "--strict-markers")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nhost:") == 1


def test_a_conftest_may_have_a_fixture_of_its_own(installed: pytest.Pytester) -> None:
    installed.makepyprojecttoml("[tool.pytest.ini_options]\nvolt = true")
    installed.makeconftest("import pytest\n@pytest.fixture\ndef paths():\n    return 'mine'")
    installed.makepyfile("def test_mine(paths):\n    assert paths == 'mine'")
    assert run_tests(installed).returncode == 0


def test_a_failure_quotes_the_promise(installed: pytest.Pytester) -> None:
    installed.makepyprojecttoml("[tool.pytest.ini_options]\nvolt = true")
    installed.makepyfile(KIT)
    done = run_tests(installed, "-k", "never_ran or idempotent or b9")
    assert "1 passed" in done.stdout
    assert "2 failed" in done.stdout
    assert done.stdout.count("B-3 stop, from docs/backend-contract.md") == 2
    assert "- Idempotent: stopping what has ended, or never ran, is success and changes nothing" in done.stdout
    assert "B-9" not in done.stdout


def test_a_case_names_its_promises() -> None:
    assert [it.number for it in promises_of("test_b11_b13_a_frozen_one_takes_no_commands")] == ["B-11", "B-13"]
    assert promises_of("test_boot") == promises_of("test_b9999_nothing") == []
    assert promises()["S-9"].place == "docs/store-contract.md"
    assert all(it.text for it in promises().values())
