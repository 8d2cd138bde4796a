"""The tool that kills between system calls must see each of them, or every crash test would pass."""

from __future__ import annotations

import os
import shutil
import threading

import pytest

from volt_core.errors import VoltError
from volt_core.testing.syscalls import boundaries, in_two, is_change, killed_everywhere, run_failing, run_killed, trace

pytestmark = pytest.mark.needs_strace


@pytest.fixture
def act(tmp_path):
    """Make a directory with a file in it, and remove the file."""

    def act():
        os.mkdir(tmp_path / "a")
        with open(tmp_path / "a/b", "x") as file:
            file.write("text")
        with open(tmp_path / "a/b") as file:
            file.read()
        os.unlink(tmp_path / "a/b")
        if os.access(tmp_path / "none", os.F_OK):
            os.unlink(tmp_path / "none")

    return act


def test_calls_are_seen_in_order_with_their_paths(act, tmp_path):
    calls = [call for call in trace(act) if is_change(call)]
    assert [(call.name.removesuffix("at"), call.number) for call in calls] == [
        *(("mkdir", 1), ("open", calls[1].number), ("write", 1), ("unlink", 1)),
    ]
    assert f'"{tmp_path}/a/b"' in calls[1].text
    assert f"{tmp_path}/a/b>" in calls[2].text


def test_a_kill_comes_before_the_call(act, tmp_path):
    states = []
    for _ in killed_everywhere(act, lambda: shutil.rmtree(tmp_path / "a", ignore_errors=True)):
        states.append([path.name for path in tmp_path.rglob("*")])
    # Nothing; the directory; the file, whose text was not written; and that again, with the text.
    assert states == [[], ["a"], ["a", "b"], ["a", "b"]]


def test_what_ends_before_the_call_is_told(act):
    assert run_killed(act, "unlinkat", 9)


def test_an_error_is_the_result_of_the_call(tmp_path):
    def act():
        try:
            os.mkdir(tmp_path / "a")
        except OSError as error:
            raise VoltError("no") from error

    (call,) = trace(act, ["mkdir", "mkdirat"])
    (tmp_path / "a").rmdir()
    assert run_failing(act, call.name, 1, "EDQUOT") is False
    assert not list(tmp_path.iterdir())
    assert run_failing(act, call.name, 2, "EDQUOT") is None


def test_an_error_that_is_passed_over_is_success(tmp_path):
    def act():
        os.access(tmp_path, os.F_OK)

    (call,) = trace(act, ["access", "faccessat", "faccessat2"])
    assert run_failing(act, call.name, call.number, "EIO") is True


def test_what_changes_nothing_is_no_crash_test():
    with pytest.raises(AssertionError, match="nothing was killed"):
        list(killed_everywhere(lambda: None, lambda: None))


def test_both_halves_run_and_either_fails(tmp_path):
    with in_two() as half:
        for name in half(["a", "b", "c"]):
            (tmp_path / name).write_text(str(os.getpid()))
    pids = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert pids["a"] == pids["c"] == str(os.getpid())
    assert pids["b"] != pids["a"]
    for bad in "ab":
        with pytest.raises(AssertionError), in_two() as half:
            assert bad not in half(["a", "b"])


def test_another_error_than_of_volt_fails(tmp_path):
    with pytest.raises(AssertionError):
        run_failing(lambda: os.unlink(tmp_path / "none"), "openat", 999, "EIO")


def test_threads_count_for_themselves(tmp_path):
    def act():
        threads = [threading.Thread(target=os.mkdir, args=[tmp_path / name]) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    calls = trace(act, ["mkdir", "mkdirat"])
    assert [call.number for call in calls] == [1, 1]
    assert len(boundaries(calls)) == 1
