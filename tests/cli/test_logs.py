"""``volt logs`` on a container of proot, whose runs are not told apart."""

from __future__ import annotations

import json
import time

import pytest

pytestmark = pytest.mark.needs_proot

SCRIPT = "echo Apple; echo pear; echo apple pie >&2; printf plum"


@pytest.fixture
def printed(box):
    """A container that has written something, and the moment after that."""
    box.ok("run", "-d", "--name", "web", "box", "sh", "-c", SCRIPT)
    box.ok("wait", "web")
    return time.time_ns()


@pytest.mark.usefixtures("printed")
def test_lines_that_match(box):
    said = box("logs", "--grep", "(?i)apple", "web")
    assert (said.status, said.out, said.err) == (0, "Apple\n", "apple pie\n")
    assert box.ok("logs", "-g", "^p", "-n", "1", "web") == "plum"
    assert box.ok("logs", "-g", "cherry", "web") == ""


@pytest.mark.parametrize("pattern", ["(", "*", "[a", "a{2,1}", "\\"])
def test_an_invalid_pattern_is_a_usage_error(box, pattern):
    said = box("logs", "--grep", pattern, "nosuch")
    assert said.status == 2
    assert f"Error: Invalid pattern '{pattern}'" in said.err.replace("\\\\", "\\")


def test_what_is_newer_and_older(box, printed):
    moment = f"{printed // 10**9}.{printed % 10**9:09d}"
    assert box.ok("logs", "--until", moment, "web") == "Apple\npear\nplum"
    assert box.ok("logs", "--since", moment, "web") == ""
    assert box.ok("logs", "--since", "yesterday", "--until", "now", "web") == "Apple\npear\nplum"
    assert box.ok("logs", "--until", "yesterday", "web") == ""
    for option in ("--since", "--until"):
        said = box("logs", option, "soon", "web")
        assert (said.status, "'soon' is no time; write 10m" in said.err) == (2, True)


@pytest.mark.usefixtures("printed")
def test_json_tells_what_is_unfinished(box):
    said = [json.loads(line) for line in box.ok("logs", "--json", "web").splitlines()]
    assert [record["message"] for record in said if "partial" in record] == ["plum"]


@pytest.mark.usefixtures("printed")
def test_a_run_cannot_be_named_where_runs_are_not_told_apart(box):
    said = box("logs", "--invocation", "0" * 32, "web")
    assert said.status == 5
    assert "Cannot tell runs apart: backend 'proot' has no 'past-logs'" in said.err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "No workload is named. (Give a NAME, or --invocation ID.)"),
        (("-f", "--invocation", "0" * 32), "Only one workload can be followed"),
        (("-f", "--until", "now", "web"), "Nothing can be followed up to a moment. (Leave out --follow or --until.)"),
    ],
)
def test_what_contradicts_itself_is_a_usage_error(volt, words, error):
    said = volt("logs", *words)
    assert said.status == 2
    assert f"Error: {error}" in said.err


def test_a_long_line_has_its_name_once(box):
    for name in ("one", "two"):
        box.ok("run", "-d", "--name", name, "box", "sh", "-c", "printf begin; sleep 0.3; echo ' end'")
        box.ok("wait", name)
    assert box.ok("logs", "one", "two") == "one: begin end\ntwo: begin end\n"
