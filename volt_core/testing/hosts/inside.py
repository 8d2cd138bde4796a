"""pytest in a host: runs the items it was told, in that order, and tells of each by a descriptor of its own.

The other side is :mod:`volt_core.testing.hosts.forward`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

import pytest

from volt_core.testing.hosts import SUITE_VARIABLE

ITEMS_VARIABLE = "VOLT_TEST_ITEMS"
"""Names the file with the node ids, as a JSON list."""
REPORTS_FD = 3
"""Descriptor for the reports: pytest has the standard ones for what it says to people, and for capturing."""
END = "end"
"""Key of the line that says that an item has no more reports; all other lines are reports."""


def suite_here() -> str | None:
    """Return the suite of the host that this process runs in, or None outside of hosts."""
    return os.environ.get(SUITE_VARIABLE)


def is_told() -> bool:
    """Tell whether this pytest was started by one outside."""
    return ITEMS_VARIABLE in os.environ


class Inside:
    """The plugin that makes of pytest what is described above."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        os.set_inheritable(REPORTS_FD, False)
        self._out: IO[str] = os.fdopen(REPORTS_FD, "w", encoding="utf-8")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take those that were asked for."""
        wanted = json.loads(Path(os.environ[ITEMS_VARIABLE]).read_text("utf-8"))
        places = {nodeid: place for place, nodeid in enumerate(wanted)}
        items[:] = sorted((item for item in items if item.nodeid in places), key=lambda item: places[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell of one phase of an item."""
        self._tell(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Tell that an item has no more of them."""
        self._tell({END: nodeid})

    def pytest_unconfigure(self) -> None:
        """Hang up."""
        self._out.close()

    def _tell(self, data: dict[str, Any]) -> None:
        self._out.write(json.dumps(data, default=str) + "\n")
        self._out.flush()
