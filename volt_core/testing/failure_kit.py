"""Conformance of a backend: what goes wrong, on purpose or not, and what the log keeps; see :mod:`.backend_kit`."""

from __future__ import annotations

import threading
import time

import pytest

from volt_core.contracts import Backend
from volt_core.errors import BackendError, ObjectMissing
from volt_core.loglines import lines_of
from volt_core.models.outcome import CANNOT_EXECUTE, COMMAND_NOT_FOUND
from volt_core.models.workload import ContainerSpec, Status, VmSpec
from volt_core.testing.workbench import GRACE, SHORT, BackendKit, Workbench, background


class BackendFailureKit(BackendKit):
    """What goes wrong: interrupted acts, two callers at once, commands and images that are not there."""

    def test_b1_create_without_the_image_fails_and_can_be_cleared_away(self, bench: Workbench) -> None:
        if not isinstance(self.make_spec(bench.image, self.payload.sleeps()), ContainerSpec | VmSpec):
            pytest.skip("this kind of workload has no image")
        bench.image = "sha256:" + "0" * 64
        workload = bench.plan(self.payload.sleeps())
        with pytest.raises(ObjectMissing):
            bench.backend.create(workload)
        bench.backend.delete(workload)

    @pytest.mark.parametrize("code", [COMMAND_NOT_FOUND, CANNOT_EXECUTE])
    def test_b2_a_command_that_cannot_be_started_leaves_126_or_127(self, bench: Workbench, code: int) -> None:
        command = self.payload.missing() if code == COMMAND_NOT_FOUND else self.payload.unexecutable()
        workload = bench.create(command)
        with pytest.raises(BackendError):
            bench.backend.start(workload)
        status = bench.backend.status(workload)
        assert status.status is Status.FAILED
        assert status.outcome is not None
        assert (status.outcome.code, status.outcome.result) == (code, "not-started")
        assert bench.backend.wait(workload, SHORT) == status.outcome
        bench.backend.stop(workload, SHORT)

    def test_b5_delete_after_an_interrupted_create(self, bench: Workbench) -> None:
        workload = bench.plan(self.payload.sleeps())
        bench.backend.delete(workload)
        bench.backend.delete(workload)

    def test_b5_delete_twice(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.exits(0))
        bench.backend.wait(workload, bench.patience)
        bench.backend.delete(workload)
        bench.backend.delete(workload)

    def test_b5_delete_without_the_folder(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.sleeps())
        bench.delete(workload)
        bench.backend.delete(workload)

    def test_b6_status_of_what_was_never_created_is_not_active(self, bench: Workbench) -> None:
        workload = bench.plan(self.payload.sleeps())
        assert not bench.backend.status(workload).status.active
        bench.folder(workload).rmdir()
        assert not bench.backend.status(workload).status.active


class BackendLogsKit(BackendKit):
    """The log."""

    def test_b8_the_log_is_what_was_printed(self, bench: Workbench) -> None:
        before = time.time_ns()
        workload = bench.start(self.payload.prints("one", "", "three"))
        bench.backend.wait(workload, bench.patience)
        records = list(bench.backend.logs(workload))
        # The journal keeps no empty lines.
        assert [record.data for record in records if record.data] == [b"one", b"three"]
        assert {record.stream for record in records} == {"stdout" if self.payload.parts_streams else "console"}
        times = [record.time for record in records]
        assert times == sorted(times)
        assert before - 10**9 <= times[0] <= times[-1] <= time.time_ns()

    def test_b8_stderr_is_told_apart(self, bench: Workbench) -> None:
        if not self.payload.parts_streams:
            pytest.skip("this kind of workload has one stream")
        workload = bench.start(self.payload.prints_error("oops"))
        bench.backend.wait(workload, bench.patience)
        assert [(record.stream, record.data) for record in bench.backend.logs(workload)] == [("stderr", b"oops")]

    def test_b8_a_line_without_newline_is_kept(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.writes("prompt>"))
        bench.backend.wait(workload, bench.patience)
        assert [(record.data, record.partial) for record in bench.backend.logs(workload)] == [(b"prompt>", True)]

    def test_b8_a_flood_is_kept_whole(self, bench: Workbench) -> None:
        lines = [f"line {number}" for number in range(5000)]
        workload = bench.start(self.payload.prints(*lines))
        bench.backend.wait(workload, bench.patience)
        assert bench.lines(workload) == [line.encode() for line in lines]

    def test_b8_a_long_line_is_one_line(self, bench: Workbench) -> None:
        long = "x" * 60_000
        workload = bench.start(self.payload.prints("before", long, "after"))
        bench.backend.wait(workload, bench.patience)
        for tail in (None, 9, 2):
            lines = lines_of(bench.backend.logs(workload, tail=tail))
            texts = [b"".join(record.data for record in line).decode() for line in lines]
            assert texts == ["before", long, "after"][-(tail or 9) :]

    def test_b8_all_runs_are_in_it(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.prints("again"))
        bench.backend.wait(workload, bench.patience)
        bench.backend.start(workload)
        bench.backend.wait(workload, bench.patience)
        assert [record.data for record in bench.fresh().logs(workload)] == [b"again", b"again"]

    def test_b8_what_never_ran_has_an_empty_log(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.sleeps())
        assert bench.lines(workload) == []
        assert bench.in_time("a log that is followed", lambda: bench.lines(workload, follow=True)) == []

    @pytest.mark.parametrize(("tail", "expected"), [(0, []), (2, [b"4", b"5"]), (99, [b"1", b"2", b"3", b"4", b"5"])])
    def test_b8_tail_limits_it_to_the_last(self, bench: Workbench, tail: int, expected: list[bytes]) -> None:
        workload = bench.start(self.payload.prints("1", "2", "3", "4", "5"))
        bench.backend.wait(workload, bench.patience)
        assert bench.lines(workload, tail=tail) == expected

    def test_b8_since_and_until_limit_it_in_time(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.prints("1", "2"))
        bench.backend.wait(workload, bench.patience)
        between = time.time_ns()
        bench.backend.start(workload)
        bench.backend.wait(workload, bench.patience)
        lines = list(bench.backend.logs(workload))
        assert len(lines) == 4
        assert list(bench.backend.logs(workload, since=between)) == lines[2:]
        assert list(bench.backend.logs(workload, until=between)) == lines[:2]
        assert list(bench.backend.logs(workload, until=lines[1].time)) == lines[:2], "the moment itself is not newer"
        assert bench.lines(workload, until=between, tail=1) == [b"2"]
        assert bench.lines(workload, since=time.time_ns()) == []
        assert list(bench.backend.logs(workload, since=lines[-1].time)) == [], "what was seen is not newer"

    def test_b8_follow_yields_at_once_and_ends_with_the_workload(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.prints_slowly("first", "second"))
        seen = threading.Event()
        gathered: list[bytes] = []

        def follow(backend: Backend) -> None:
            for record in backend.logs(workload, follow=True):
                gathered.append(record.data)
                if len(gathered) == 2:
                    seen.set()

        with background(lambda: follow(bench.fresh()), bench.patience):
            assert seen.wait(bench.patience)
            assert bench.backend.status(workload).status is Status.RUNNING
            bench.backend.stop(workload, GRACE)
        assert gathered == [b"first", b"second"]

    def test_b8_follow_of_an_ended_one_ends(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.prints("line"))
        bench.backend.wait(workload, bench.patience)
        assert bench.in_time("a log that is followed", lambda: bench.lines(workload, follow=True)) == [b"line"]
