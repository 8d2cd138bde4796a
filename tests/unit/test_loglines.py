"""Lines of a log that come as several records."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volt_core.contracts import LogRecord
from volt_core.loglines import last_lines, lines_of, matching_lines, without_first_lines


def record(data: bytes, stream: Literal["stdout", "stderr"] = "stdout", *, partial: bool = False) -> LogRecord:
    return LogRecord(time=1, stream=stream, data=data, partial=partial)


MIXED = [
    record(b"a1", partial=True),
    record(b"b", "stderr"),
    record(b"a2", partial=True),
    record(b"a3"),
    record(b"rest", "stderr", partial=True),
]
RECORDS = st.lists(
    st.builds(record, st.binary(max_size=3), st.sampled_from(["stdout", "stderr"]), partial=st.booleans()), max_size=12
)


def test_a_line_is_all_of_its_records() -> None:
    assert [[item.data for item in line] for line in lines_of(MIXED)] == [[b"b"], [b"a1", b"a2", b"a3"], [b"rest"]]


@given(RECORDS)
def test_no_record_is_lost(records: list[LogRecord]) -> None:
    together = [item for line in lines_of(records) for item in line]
    for stream in ("stdout", "stderr"):
        assert [it for it in together if it.stream == stream] == [it for it in records if it.stream == stream]
    assert list(without_first_lines(records, 0)) == records
    assert list(last_lines(records, len(records))) == together


def test_the_first_lines_are_those_that_were_complete_first() -> None:
    left = {count: [item.data for item in without_first_lines(MIXED, count)] for count in (-1, 1, 2, 3)}
    assert left == {-1: [b"a1", b"b", b"a2", b"a3", b"rest"], 1: [b"a1", b"a2", b"a3", b"rest"], 2: [b"rest"], 3: []}


def test_another_run_does_not_complete_a_line() -> None:
    records = [LogRecord(time=1, stream="stdout", data=b"end", partial=True, invocation="a")]
    records += [LogRecord(time=2, stream="stdout", data=data, invocation="b") for data in (b"begin", b"more")]
    assert [[item.data for item in line] for line in lines_of(records)] == [[b"end"], [b"begin"], [b"more"]]
    assert list(last_lines(records, 2)) == list(without_first_lines(records, 1)) == records[1:]
    assert list(without_first_lines(records, 2)) == records[2:]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("a1a2", [b"a1", b"a2", b"a3"]), ("^a3", []), ("^rest$", [b"rest"]), ("b", [b"b"])],
)
def test_a_pattern_is_looked_for_in_the_whole_line(pattern: str, found: list[bytes]) -> None:
    assert [item.data for item in matching_lines(MIXED, re.compile(pattern).search)] == found


def test_text_is_utf8_and_what_is_not_matches_as_an_argument_would() -> None:
    records = [record("größe".encode()), record(b"\xff.")]
    assert [item.data for item in matching_lines(records, re.compile("gr[öo]ß.$").search)] == ["größe".encode()]
    assert [item.data for item in matching_lines(records, re.compile("\udcff").search)] == [b"\xff."]
