"""The kits catch what breaks one promise of a contract: a mutant that survives is a case that is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from .mutants.cases import MODULES, MUTANTS, UNBROKEN

FOLDER = Path(__file__).with_name("mutants")
NOT_MUTANTS = {"cases", "observer"}
CRASHES = {"NameError", "AttributeError", "TypeError", "ImportError"}
"""What a mutant fails with that is only wrongly written."""
_SECONDS = 300


class Failure(NamedTuple):
    """What the observer notes."""

    when: str
    exception: str
    case: str


Failures = dict[str, list[Failure]]


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Failures:
    """What failed, by class; in processes of their own, since some leave threads that never end, and mostly wait."""
    folder = tmp_path_factory.mktemp("mutants")
    running = [
        (folder / f"{number}.json", subprocess.Popen(_observed(folder / f"{number}.json", share)))
        for number, share in enumerate((UNBROKEN, MUTANTS[::2], MUTANTS[1::2]))
    ]
    found: Failures = {}
    for result, process in running:
        process.wait(_SECONDS)
        found |= {kit: [Failure(*it) for it in failed] for kit, failed in json.loads(result.read_text()).items()}
    return found


def _observed(result: Path, share: list[str]) -> list[str]:
    # With -P the modules of mutants are not in the way of others that are called so.
    tests = [f"{FOLDER / 'cases.py'}::{name}" for name in share]
    return [sys.executable, "-P", str(FOLDER / "observer.py"), str(result), *tests]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(failures: Failures, mutant: str) -> None:
    found = [it for it in failures[mutant] if it.when != "teardown"]
    assert found, "no case of the promise that it breaks fails"
    assert all(it.when == "call" and it.exception not in CRASHES for it in found), found


def test_what_is_not_broken_passes_the_same_cases(failures: Failures) -> None:
    assert [failures[name] for name in UNBROKEN] == [[]] * len(UNBROKEN)


def test_every_mutant_was_tried(failures: Failures) -> None:
    assert sorted(failures) == sorted([*MUTANTS, *UNBROKEN])
    assert len(UNBROKEN) == 4
    assert len(MUTANTS) > 75
    modules = {module.__name__.rpartition(".")[2] for module in MODULES}
    assert modules == {path.stem for path in FOLDER.glob("*.py")} - NOT_MUTANTS
