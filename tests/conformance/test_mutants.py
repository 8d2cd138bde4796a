"""The kits catch what breaks one promise of a contract: a mutant that survives is a case that is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

MUTANTS = Path(__file__).with_name("mutants.py")
NAMES = re.findall(r'^class (\w+)\(.*\):\n(?:    """.*\n\n)?    BREAKS = ', MUTANTS.read_text(), re.MULTILINE)
UNBROKEN = ("TestUnbrokenContainer", "TestUnbrokenStore", "TestUnbrokenSource", "TestUnbrokenSection")
_SECONDS = 300


class Observer:
    """A plugin of the pytest that runs them: notes what fails, and spares a mutant that was caught the other cases."""

    def __init__(self) -> None:
        self.failed: dict[str, list[str]] = {}

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip what need not be known any more."""
        kit = item.nodeid.split("::")[1]
        if kit not in UNBROKEN and self.failed.get(kit):
            pytest.skip("caught")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the case."""
        _, kit, case = report.nodeid.split("::")
        failed = self.failed.setdefault(kit, [])
        if report.failed and report.when != "teardown":
            failed.append(case)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The cases that failed, by class; in processes of their own, since some leave threads that never end."""
    folder = tmp_path_factory.mktemp("mutants")
    running = [
        (folder / f"{number}.json", subprocess.Popen([sys.executable, __file__, str(folder / f"{number}.json"), which]))
        for number, which in enumerate(("Unbroken", "not Unbroken"))
    ]
    found: dict[str, list[str]] = {}
    for result, process in running:
        process.wait(_SECONDS)
        found |= json.loads(result.read_text())
    return found


@pytest.mark.parametrize("mutant", NAMES)
def test_a_mutant_is_caught(failed: dict[str, list[str]], mutant: str) -> None:
    assert failed[f"Test{mutant}"], "no case of the promise that it breaks fails"


def test_what_is_not_broken_passes_the_same_cases(failed: dict[str, list[str]]) -> None:
    assert [failed[name] for name in UNBROKEN] == [[]] * len(UNBROKEN)


def test_every_mutant_was_tried(failed: dict[str, list[str]]) -> None:
    assert {f"Test{name}" for name in NAMES} == failed.keys() - {*UNBROKEN}
    assert len(NAMES) > 50


if __name__ == "__main__":
    observer = Observer()
    pytest.main([str(MUTANTS), "-q", "-p", "no:cacheprovider", "-k", sys.argv[2]], plugins=[observer])
    Path(sys.argv[1]).write_text(json.dumps(observer.failed))
