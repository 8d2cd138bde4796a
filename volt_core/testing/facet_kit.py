"""Conformance of the facets: exec, attach, freeze, stats, snapshot, rename."""

from __future__ import annotations

import random
import signal
import threading
from typing import Any

import pytest

from volt_core.contracts import Attach, Exec, Freeze, Rename, Snapshot, Stats
from volt_core.errors import BackendError, UsageError, WrongState
from volt_core.models.outcome import CANNOT_EXECUTE, COMMAND_NOT_FOUND, Outcome
from volt_core.models.workload import Status, Workload
from volt_core.names import new_name
from volt_core.testing.workbench import GRACE, BackendKit, Pipes, Workbench, background


class BackendExecKit(BackendKit, facets=(Exec,)):
    """More commands in a running workload."""

    def exec(self, bench: Workbench, workload: Workload, command: Any, pipes: Pipes, **options: Any) -> Outcome:
        """Run a command in it."""
        assert isinstance(bench.backend, Exec)
        return bench.backend.exec(workload, command, pipes.streams, **options)

    def test_b11_the_streams_are_the_callers(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        data = random.Random(11).randbytes(200_000)  # noqa: S311 -- not for secrets
        with Pipes(data) as pipes:
            outcome = self.exec(bench, workload, self.payload.echoes_stdin(), pipes)
            assert outcome.code == 0
            assert pipes.output() == data
            assert pipes.error() == b""
        with Pipes() as pipes:
            self.exec(bench, workload, self.payload.prints_error("oops"), pipes)
            assert (pipes.output(), pipes.error()) == (b"", b"oops\n")
        assert bench.backend.status(workload).status is Status.RUNNING
        assert bench.lines(workload) == []

    @pytest.mark.parametrize("code", [0, 3, 255])
    def test_b11_the_exit_code_is_the_commands(self, bench: Workbench, code: int) -> None:
        workload = bench.start(self.payload.sleeps())
        with Pipes() as pipes:
            assert self.exec(bench, workload, self.payload.exits(code), pipes).code == code

    def test_b11_the_signal_is_told(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        with Pipes() as pipes:
            assert self.exec(bench, workload, self.payload.dies_of(signal.SIGUSR1), pipes).signal == signal.SIGUSR1

    def test_b11_126_and_127_as_in_a_shell(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        with Pipes() as pipes:
            assert self.exec(bench, workload, self.payload.missing(), pipes).exit_status == COMMAND_NOT_FOUND
            assert self.exec(bench, workload, self.payload.unexecutable(), pipes).exit_status == CANNOT_EXECUTE

    @pytest.mark.parametrize("where", ["command", "env"])
    def test_b11_what_no_process_can_have_fails_alone(self, bench: Workbench, where: str) -> None:
        workload = bench.start(self.payload.sleeps())
        command = ("echo", "a\0b") if where == "command" else self.payload.exits(0)
        env = {"A": "a\0b"} if where == "env" else {}
        with Pipes() as pipes, pytest.raises((BackendError, UsageError)):
            self.exec(bench, workload, command, pipes, env=env)
        assert bench.backend.status(workload).status is Status.RUNNING
        with Pipes() as pipes:
            assert self.exec(bench, workload, self.payload.exits(3), pipes).code == 3

    def test_b11_environment_and_directory(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps(), env={"COLOR": "red", "SHAPE": "round"})
        for name, expected in (("COLOR", b"blue\n"), ("SHAPE", b"round\n")):
            with Pipes() as pipes:
                self.exec(bench, workload, self.payload.prints_variable(name), pipes, env={"COLOR": "blue"})
                assert pipes.output() == expected
        with Pipes() as pipes:
            self.exec(bench, workload, self.payload.prints_working_dir(), pipes, working_dir="/tmp")  # noqa: S108
            assert pipes.output() == b"/tmp\n"

    def test_b11_needs_a_running_workload(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.sleeps())
        with Pipes() as pipes, pytest.raises(WrongState):
            self.exec(bench, workload, self.payload.exits(0), pipes)
        bench.backend.start(workload)
        bench.backend.stop(workload, GRACE)
        with Pipes() as pipes, pytest.raises(WrongState):
            self.exec(bench, workload, self.payload.exits(0), pipes)

    def test_b11_a_stop_ends_it(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        with Pipes() as pipes:
            command = self.payload.prints_then_sleeps("here")
            with background(lambda: self.exec(bench, workload, command, pipes)) as running:
                pipes.wait_for_output(bench.patience)
                bench.backend.stop(workload, GRACE)
                assert running.result(bench.patience).code != 0

    def test_b11_signals_of_the_caller_reach_it_alone(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        with Pipes() as pipes:
            command = self.payload.prints_then_sleeps("here")
            with background(lambda: self.exec(bench, workload, command, pipes)) as running:
                pipes.wait_for_output(bench.patience)
                pipes.send(signal.SIGINT)
                assert running.result(bench.patience).signal == signal.SIGINT
        assert bench.backend.status(workload).status is Status.RUNNING


class BackendAttachKit(BackendKit, facets=(Attach,)):
    """Foreground runs."""

    def attach(self, bench: Workbench, workload: Workload, pipes: Pipes) -> Outcome:
        """Run it in the foreground; fails unless the backend tells once that it has started."""
        told = []
        assert isinstance(bench.backend, Attach)
        try:
            return bench.backend.run_attached(workload, pipes.streams, lambda: told.append(True))
        finally:
            assert told == [True]

    def test_b12_streams_byte_for_byte(self, bench: Workbench) -> None:
        data = random.Random(12).randbytes(1_000_000)  # noqa: S311 -- not for secrets
        workload = bench.create(self.payload.echoes_stdin(), stdin_open=True)
        with Pipes(data) as pipes:
            outcome = self.attach(bench, workload, pipes)
            assert (outcome.code, outcome.signal) == (0, None)
            assert pipes.output() == data
            assert pipes.error() == b""
        assert bench.backend.status(workload).outcome == outcome

    def test_b12_stderr_apart_and_all_of_it_in_the_log(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.prints_error("oops"))
        with Pipes() as pipes:
            self.attach(bench, workload, pipes)
            assert (pipes.output(), pipes.error()) == (b"", b"oops\n")
        assert bench.lines(workload) == [b"oops"]

    @pytest.mark.parametrize("code", [0, 3])
    def test_b12_the_exit_code_is_the_payloads(self, bench: Workbench, code: int) -> None:
        with Pipes() as pipes:
            assert self.attach(bench, bench.create(self.payload.exits(code)), pipes).code == code

    def test_b12_a_command_that_is_not_there(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.missing())
        with Pipes() as pipes, pytest.raises(BackendError):
            self.attach(bench, workload, pipes)
        outcome = bench.backend.status(workload).outcome
        assert outcome is not None
        assert outcome.exit_status == COMMAND_NOT_FOUND

    def test_b12_an_active_one_is_refused(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        with Pipes() as pipes, pytest.raises(WrongState):
            self.attach(bench, workload, pipes)
        assert bench.backend.status(workload).status is Status.RUNNING

    def test_b12_signals_of_the_caller_reach_the_payload(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.prints_then_sleeps("here"))
        with Pipes() as pipes, background(lambda: self.attach(bench, workload, pipes)) as running:
            pipes.wait_for_output(bench.patience)
            pipes.send(signal.SIGINT)
            assert running.result(bench.patience).signal == signal.SIGINT

    def test_b12_others_see_it_run_and_can_stop_it(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.sleeps())
        started = threading.Event()
        assert isinstance(bench.backend, Attach)
        attach = bench.backend.run_attached
        with Pipes(None) as pipes, background(lambda: attach(workload, pipes.streams, started.set)) as running:
            assert started.wait(bench.patience)
            assert bench.fresh().status(workload).status is Status.RUNNING
            bench.fresh().stop(workload, GRACE)
            assert running.result(bench.patience) == bench.fresh().status(workload).outcome

    def test_b12_a_reader_that_is_gone_is_sigpipe_to_the_payload(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.echoes_stdin(), stdin_open=True)
        with Pipes(b"y\n" * 200_000, reads=False) as pipes:
            assert self.attach(bench, workload, pipes).signal == signal.SIGPIPE


class BackendFreezeKit(BackendKit, facets=(Freeze,)):
    """Suspend and resume."""

    def freezer(self, bench: Workbench) -> Freeze:
        """The backend as the facet."""
        assert isinstance(bench.backend, Freeze)
        return bench.backend

    def test_b13_freeze_and_thaw_are_idempotent(self, bench: Workbench) -> None:
        workload, freezer = bench.start(self.payload.sleeps()), self.freezer(bench)
        for act, expected in ((freezer.freeze, Status.FROZEN), (freezer.thaw, Status.RUNNING)):
            act(workload)
            act(workload)
            assert bench.backend.status(workload).status is expected
            assert bench.fresh().status(workload).status is expected

    def test_b13_stop_ends_a_frozen_one(self, bench: Workbench) -> None:
        workload = bench.start(self.payload.sleeps())
        self.freezer(bench).freeze(workload)
        bench.backend.stop(workload, GRACE)
        assert not bench.backend.status(workload).status.active

    def test_b13_what_does_not_run_is_refused(self, bench: Workbench) -> None:
        workload = bench.create(self.payload.sleeps())
        with pytest.raises(WrongState):
            self.freezer(bench).freeze(workload)
        with pytest.raises(WrongState):
            self.freezer(bench).thaw(workload)


class BackendFrozenExecKit(BackendKit, facets=(Exec, Freeze)):
    """Commands in what is suspended."""

    def test_b11_b13_a_frozen_one_takes_no_commands(self, bench: Workbench) -> None:
        assert isinstance(bench.backend, Exec)
        assert isinstance(bench.backend, Freeze)
        workload = bench.start(self.payload.sleeps())
        bench.backend.freeze(workload)
        with Pipes() as pipes, pytest.raises(WrongState):
            bench.backend.exec(workload, self.payload.exits(0), pipes.streams)
        bench.backend.thaw(workload)
        with Pipes() as pipes:
            assert bench.backend.exec(workload, self.payload.exits(3), pipes.streams).code == 3


class BackendStatsKit(BackendKit, facets=(Stats,)):
    """What a workload uses."""

    def test_b14_a_running_one_has_tasks(self, bench: Workbench) -> None:
        assert isinstance(bench.backend, Stats)
        sample = bench.backend.stats(bench.start(self.payload.sleeps()))
        assert sample.tasks >= 1
        assert sample.memory_bytes >= 0

    def test_b14_the_time_of_what_has_ended_counts(self, bench: Workbench) -> None:
        assert isinstance(bench.backend, Stats)
        workload = bench.start(self.payload.burns_in_a_child())
        bench.wait_for("CPU time used", lambda: b"burned" in bench.lines(workload))
        before = bench.backend.stats(workload)
        bench.wait_for("the child's end", lambda: b"ended" in bench.lines(workload))
        assert 0 < before.cpu_ns <= bench.backend.stats(workload).cpu_ns

    def test_b14_what_does_not_run_is_refused(self, bench: Workbench) -> None:
        assert isinstance(bench.backend, Stats)
        with pytest.raises(WrongState):
            bench.backend.stats(bench.create(self.payload.sleeps()))


class BackendSnapshotKit(BackendKit, facets=(Snapshot,)):
    """Keep the present content."""

    def test_b17_an_untouched_workload_is_its_image(self, bench: Workbench) -> None:
        assert isinstance(bench.backend, Snapshot)
        store = bench.backend.store
        digest = bench.backend.snapshot(bench.create(self.payload.sleeps()))
        assert {entry.path for entry in store.entries(digest)} == {entry.path for entry in store.entries(bench.image)}


class BackendRenameKit(BackendKit, facets=(Rename,)):
    """Another name."""

    def test_b18_all_of_it_goes_by_the_new_name(self, bench: Workbench) -> None:
        assert isinstance(bench.backend, Rename)
        workload = bench.start(self.payload.exits(7))
        outcome = bench.backend.wait(workload, bench.patience)
        renamed = bench.rename(workload, new_name("kit"))
        assert bench.backend.status(renamed).outcome == outcome
        bench.backend.start(renamed)
        assert bench.backend.wait(renamed, bench.patience).code == 7

    def test_b18_an_active_one_is_refused(self, bench: Workbench) -> None:
        assert isinstance(bench.backend, Rename)
        workload = bench.start(self.payload.sleeps())
        with pytest.raises(WrongState):
            bench.backend.rename(workload, new_name("kit"))
        assert bench.backend.status(workload).status is Status.RUNNING
