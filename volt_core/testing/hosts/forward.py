"""pytest outside of hosts: a test with the marker ``needs_systemd`` runs in a host of each suite, and is reported here.

Such a test exists once for each suite (``test_x[bookworm]``). When the first of them is due, a host of each suite is
booted and pytest started in it for all tests of that suite, so the hosts work beside each other; the reports come as
each test ends, one JSON object a line, and wait here until it is their turn. The virtual machine comes when the others
have ended: it is slow enough with a processor of its own.
"""

from __future__ import annotations

import contextlib
import json
import queue
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from volt_core import run
from volt_core.errors import VoltError
from volt_core.testing.hosts import SUITES, VIRTUAL, pool
from volt_core.testing.hosts.inside import END, ITEMS_VARIABLE, REPORTS_FD
from volt_core.testing.hosts.machine import Host
from volt_core.testing.hosts.site import VENV
from volt_core.testing.hosts.virtual import VirtualHost

_PARAMETER = "suite_of_host"
_ITEMS = "items.json"
_LONGEST_TEST = 600.0
_END_SECONDS = 30.0


def parametrize(metafunc: pytest.Metafunc, suites: Sequence[str]) -> None:
    """Make one item for each suite of a test that is to run in hosts."""
    metafunc.fixturenames.append(_PARAMETER)
    metafunc.parametrize(_PARAMETER, suites)


class Outside:
    """The plugin that has items run in hosts: at the end of the session, suite by suite."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the items in that order."""
        order = (None, *SUITES, VIRTUAL)
        items.sort(key=lambda item: order.index(_suite_of(item)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Report what happened to an item in its host."""
        suite = _suite_of(item)
        if suite is None:
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(item, suite):
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """End what was begun."""
        for running in self._runs.values():
            running.close()

    def _reports(self, item: pytest.Item, suite: str) -> list[pytest.TestReport]:
        try:
            if suite not in self._runs:
                self._begin(item, suite)
            return self._runs[suite].reports(item.nodeid)
        except (VoltError, OSError) as error:
            return [_failed(item, f"{suite}: {error}\n{getattr(error, 'details', None) or ''}")]

    def _begin(self, item: pytest.Item, due: str) -> None:
        """Start what is due, then what comes after it: of that a fault is told when it is due itself."""
        for suite in (VIRTUAL,) if due == VIRTUAL else sorted(SUITES, key=lambda suite: suite != due):
            wanted = [other.nodeid for other in item.session.items if _suite_of(other) == suite]
            with contextlib.suppress(*([] if suite == due else [VoltError, OSError])):
                if wanted and suite not in self._runs:
                    hosts = pool.of_session(item.config)
                    host = hosts.virtual() if suite == VIRTUAL else hosts.shared(suite)
                    self._runs[suite] = _Run(host, item.config, wanted)


class _Run:
    """pytest in a host."""

    def __init__(self, host: Host | VirtualHost, config: pytest.Config, wanted: Sequence[str]) -> None:
        self._host = host
        self._config = config
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._ended: set[str] = set()
        self._wanted = frozenset(wanted)
        self._messages: queue.Queue[tuple[dict[str, Any], str] | None] = queue.Queue()
        (host.data / _ITEMS).write_text(json.dumps(wanted))
        files = dict.fromkeys(f"{pool.SOURCE}/{nodeid.partition('::')[0]}" for nodeid in wanted)
        options = ["-c", f"{pool.SOURCE}/pyproject.toml", "--rootdir", pool.SOURCE, "-p", "no:cacheprovider"]
        # A host's /tmp is in memory.
        options += ["-o", "tmp_path_retention_policy=failed"]
        # What it says to people goes where errors do.
        redirected = ["sh", "-c", f'exec "$@" {REPORTS_FD}>&1 1>&2', "pytest", f"{VENV}/bin/pytest"]
        env = {ITEMS_VARIABLE: f"/var/lib/volt/{_ITEMS}", "PYTHONDONTWRITEBYTECODE": "1"}
        self._errors = tempfile.TemporaryFile()
        self._process = run.spawn(
            host.argv([*redirected, *options, *files], env=env),
            env=run.child_environment(),
            stdin=run.DEVNULL,
            stdout=run.PIPE,
            stderr=self._errors.fileno(),
        )
        threading.Thread(target=self._receive, name=f"reports of {host.suite}", daemon=True).start()

    def reports(self, nodeid: str) -> list[pytest.TestReport]:
        """Wait for the reports of one item. Raises :class:`VoltError` if they do not come."""
        while nodeid not in self._ended:
            message, journal = self._next()
            if END in message:
                self._ended.add(message[END])
                continue
            report = self._config.hook.pytest_report_from_serializable(config=self._config, data=message)
            if isinstance(report.longrepr, list):
                report.longrepr = tuple(report.longrepr)  # of a skip: JSON knows no tuples
            if journal:
                report.sections.append((f"journal of {self._host.suite}", journal))
            self._reports.setdefault(report.nodeid, []).append(report)
        return self._reports.pop(nodeid, [])

    def close(self) -> None:
        """End it; what was broken off ends with its host."""
        try:
            self._process.wait(_END_SECONDS if self._wanted <= self._ended else 0)
        except run.Expired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _receive(self) -> None:
        """Take the messages as they come, that of a failure with the end of the journal at that moment; then None."""
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                message = json.loads(line)
                failed = message.get("outcome") == "failed"
                self._messages.put((message, self._host.last_words() if failed else ""))
        finally:
            self._messages.put(None)

    def _next(self) -> tuple[dict[str, Any], str]:
        try:
            found = self._messages.get(timeout=_LONGEST_TEST)
        except queue.Empty:
            raise VoltError("this test does not end in the host", details=self._said()) from None
        if found is None:
            self._messages.put(None)
            raise VoltError("pytest in the host ended before this test", details=self._said())
        return found

    def _said(self) -> str:
        self._errors.seek(0)
        return f"{self._errors.read().decode('utf-8', 'replace')}\n{self._host.last_words()}"


def _suite_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(_PARAMETER)


def _failed(item: pytest.Item, why: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=why,
        when="call",
    )
