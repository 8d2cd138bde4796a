"""Run as a program, pytest with a plugin that notes what fails: ``observer.py RESULT TEST...``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest


class Observer:
    """Notes each failure, by class: when, of which exception, in which case. A mutant is spared what comes after."""

    def __init__(self, result: Path) -> None:
        self._result = result
        self._failed: dict[str, list[tuple[str, str, str]]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Begin: what is not found here has not been tried."""
        self._failed = {_kit_of(item): [] for item in session.items}

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip what need not be known any more."""
        kit = _kit_of(item)
        if not kit.startswith("TestUnbroken") and any(when == "call" for when, _, _ in self._failed[kit]):
            pytest.skip("caught")

    def pytest_exception_interact(self, node: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Note the failure."""
        if call.excinfo is not None and call.when != "collect":
            self._failed[_kit_of(node)].append((call.when, call.excinfo.typename, node.name))

    def pytest_sessionfinish(self) -> None:
        """Tell."""
        self._result.write_text(json.dumps(self._failed))


def _kit_of(item: pytest.Item) -> str:
    return item.nodeid.split("::")[1]


if __name__ == "__main__":
    pytest.main([*sys.argv[2:], "-q", "-p", "no:cacheprovider"], plugins=[Observer(Path(sys.argv[1]))])
