"""The log: what was written is read back byte for byte, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volt_core import run
from volt_core.contracts import LogRecord
from volt_core.supervisor.log import LINE_LIMIT, LogWriter, format_time
from volt_core.supervisor.logreader import read_log
from volt_core.testing.host import loop_mounted

_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr|console) [FP] ")
_CHUNKS = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.binary(max_size=40)
        | st.sampled_from([b"\n", b"\n\n", b"\0", b"x" * (LINE_LIMIT + 1), b"y" * 2 * LINE_LIMIT]),
    ),
    max_size=30,
)


def joined(records: Iterable[LogRecord], stream: str) -> bytes:
    """What a reader gets who puts a newline behind each whole line."""
    return b"".join(record.data + (b"" if record.partial else b"\n") for record in records if record.stream == stream)


def written(path: Path, *chunks: bytes) -> Path:
    """A log with these chunks on stdout."""
    writer = LogWriter(path)
    for chunk in chunks:
        writer.write("stdout", chunk)
    writer.close()
    return path


@given(chunks=_CHUNKS, flushes=st.sets(st.integers(0, 30)))
@settings(deadline=None)
def test_what_is_written_is_read_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[tuple[str, bytes]], flushes: set[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    writer = LogWriter(path)
    for number, (stream, data) in enumerate(chunks):
        writer.write(stream, data)  # type: ignore[arg-type]
        if number in flushes:
            writer.flush(stream)  # type: ignore[arg-type]
    writer.close()
    records = list(read_log(path))
    for stream in ("stdout", "stderr"):
        assert joined(records, stream) == b"".join(data for name, data in chunks if name == stream)
    assert all(len(record.data) <= LINE_LIMIT for record in records)
    assert all(_LINE.match(line) for line in path.read_bytes().splitlines() if line and b"Z st" in line[:34])


@given(
    lines=st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=40),
    end=st.sampled_from([b"", b"unfinished"]),
    count=st.integers(0, 45),
)
@settings(deadline=None)
def test_tail_is_the_last_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, count: int
) -> None:
    text = b"".join(line + b"\n" for line in lines) + end
    path = written(tmp_path_factory.mktemp("log") / "log", text)
    expected = [*lines, end] if end else lines
    assert [record.data for record in read_log(path, tail=count)] == expected[max(0, len(expected) - count) :]


def test_a_tail_of_a_large_log_has_whole_lines(tmp_path: Path) -> None:
    long = b"z" * (5 * LINE_LIMIT + 7)
    path = written(tmp_path / "log", *(b"%d\n" % number for number in range(40_000)), long + b"\n", b"last\n")
    records = list(read_log(path, tail=3))
    assert joined(records, "stdout") == b"39999\n" + long + b"\nlast\n"


@pytest.mark.parametrize(("tail", "expected"), [(None, [b"1", b"2"]), (1, [b"2"])])
def test_what_comes_while_it_is_read_was_not_asked_for(tmp_path: Path, tail: int | None, expected: list[bytes]) -> None:
    path = written(tmp_path / "log", b"1\n2\n")
    records = read_log(path, tail=tail)
    found = [next(records).data]
    written(path, b"3\n")
    assert [*found, *(record.data for record in records)] == expected


def test_since_leaves_out_what_is_not_newer(tmp_path: Path) -> None:
    path = written(tmp_path / "log", b"old\n")
    moment = next(iter(read_log(path))).time
    time.sleep(0.002)
    written(path, b"new\n")
    assert [record.data for record in read_log(path, since=moment)] == [b"new"]
    assert [record.data for record in read_log(path, since=moment, tail=5)] == [b"new"]


def test_times_are_rfc_3339_and_come_back_as_they_were(tmp_path: Path) -> None:
    assert format_time(1_700_000_000_000_000_007) == b"2023-11-14T22:13:20.000000007Z"
    path = tmp_path / "log"
    path.write_bytes(b"2023-11-14T22:13:20.000000007Z stderr F hello\n")
    assert list(read_log(path)) == [LogRecord(time=1_700_000_000_000_000_007, stream="stderr", data=b"hello")]


@pytest.mark.parametrize(
    "foreign",
    [b"", b"hello", b"2023-11-14T22:13:20.000000007Z stdout X x", b"yesterday stdout F x", b"\xff\0 stdout F x",
     b"2023-99-14T22:13:20.000000007Z stdout F x", b"2023-11-14T22:13:20.000000007Z syslog F x"],
)  # fmt: skip
def test_what_is_no_record_is_passed_over(tmp_path: Path, foreign: bytes) -> None:
    path = written(tmp_path / "log", b"one\n")
    with path.open("ab") as file:
        file.write(foreign + b"\n")
    written(path, b"two\n")
    assert [record.data for record in read_log(path)] == [b"one", b"two"]
    assert [record.data for record in read_log(path, tail=2)] == [b"one", b"two"]


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert list(read_log(tmp_path / "missing")) == []


def test_a_killed_writers_last_piece_does_not_spoil_the_next_line(tmp_path: Path) -> None:
    path = written(tmp_path / "log", b"whole\n", b"torn by a kill\n")
    os.truncate(path, path.stat().st_size - 5)
    written(path, b"after\n")
    assert [record.data for record in read_log(path)] == [b"whole", b"after"]


def test_a_log_that_somebody_emptied_goes_on_at_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(path)
    writer.write("stdout", b"before\n")
    os.truncate(path, 0)
    writer.write("stdout", b"after\n")
    writer.close()
    assert [record.data for record in read_log(path)] == [b"after"]
    assert b"\0" not in path.read_bytes()


def test_follow_yields_what_comes_and_ends_with_the_workload(tmp_path: Path) -> None:
    path = tmp_path / "log"
    active = threading.Event()
    active.set()
    writer = LogWriter(path)

    def write() -> None:
        for number in range(20):
            writer.write("stdout", b"%d\n" % number)
            time.sleep(0.005)
        writer.close()
        active.clear()

    thread = threading.Thread(target=write)
    thread.start()
    records = [record.data for record in read_log(path, is_active=active.is_set)]
    thread.join()
    assert records == [b"%d" % number for number in range(20)]


def test_follow_goes_on_when_somebody_empties_the_log(tmp_path: Path) -> None:
    path = written(tmp_path / "log", b"a long line from before\n")
    active = threading.Event()
    active.set()
    records = read_log(path, is_active=active.is_set)
    assert next(records).data == b"a long line from before"
    os.truncate(path, 0)
    written(path, b"after\n")
    active.clear()
    assert [record.data for record in records] == [b"after"]


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.needs_loop_mount
def test_a_full_disk_loses_lines_and_the_log_says_how_many(tmp_path: Path) -> None:
    with loop_mounted("ext4", 8) as disk:
        ballast = disk / "ballast"
        writer = LogWriter(disk / "log")
        writer.write("stdout", b"before\n")
        fill(ballast)
        for _ in range(10):
            writer.write("stdout", b"l" * 9_999 + b"\n")
        full = [record.data for record in read_log(disk / "log")]
        ballast.unlink()
        writer.write("stdout", b"after\n")
        writer.close()
        records = [record.data for record in read_log(disk / "log")]
        kept = records.count(b"l" * 9_999)
        assert records[0] == b"before"
        assert records[-1] == b"after"
        assert b"[volt: %d bytes of output are missing here" % (10_000 * (10 - kept)) in records[-2]
        assert full[-1].startswith(b"[volt: ")


@pytest.mark.needs_root
@pytest.mark.parametrize("line", [b"%06d\n", b"%06d\r\n"])
def test_a_disk_full_to_the_last_byte_has_room_for_the_note(tmp_path: Path, line: bytes) -> None:
    """Small lines fill the last block too, so the last of them make way."""
    run.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], timeout=10)
    try:
        (tmp_path / "ballast").write_bytes(bytes(8192))
        writer = LogWriter(tmp_path / "log")
        for number in range(3000):
            writer.write("stdout", line % number)
        *kept, note = [record.data for record in read_log(tmp_path / "log")]
        (tmp_path / "ballast").unlink()
        writer.write("stdout", b"after\n")
        writer.close()
        after = [record.data for record in read_log(tmp_path / "log")]
    finally:
        run.run(["umount", "-l", str(tmp_path)], timeout=10)
    assert kept == [(line % number)[:-1] for number in range(len(kept))]
    lost = len(line % 0) * (3000 - len(kept))
    assert note == b"[volt: %d bytes of output are missing here: No space left on device]" % lost
    assert after == [*kept, note, b"after"]
