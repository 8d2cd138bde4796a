"""The program outcome: whatever a container wrote into its report, the outcome is one that Volt can read."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from volt_core import native
from volt_core.models.outcome import Outcome
from volt_core.state import StateFile

pytestmark = pytest.mark.needs_native
ID = "0123456789abcdef0123456789abcdef"
BEGIN = f"begin 7 {ID}\n"
NUMBERS = st.one_of(
    st.sampled_from(["0", "1", "64", "65", "125", "127", "128", "255", "256", "99999", "-1", "+1", " 1", "0x1", ""]),
    st.integers(-(2**70), 2**70).map(str),
)
WORDS = st.sampled_from(["begin", "pid", "exit", "signal", "fail", "exitx", "EXIT", ""])
TAILS = st.one_of(
    st.sampled_from(["", "core", "nocore", " core", "core dumped", ID, ID + "0", ID.upper(), '2 a"b\\', "2 \x7f\x01"]),
    st.text(max_size=300),
)
LINES = st.one_of(
    st.builds("{} {} {}".format, WORDS, NUMBERS, TAILS).map(lambda line: line.encode("utf-8", "surrogatepass")),
    st.builds("{} {}".format, WORDS, NUMBERS).map(str.encode),
    st.binary(max_size=300),
)
REPORTS = st.builds(
    lambda first, lines, end: first + b"\n".join(lines) + end,
    st.sampled_from([BEGIN.encode(), b"", b"begin 99999999999999999999 " + ID.encode() + b"\n"]),
    st.lists(LINES, max_size=8),
    st.sampled_from([b"", b"\n", b"\0"]),
)
SYSTEMD = st.fixed_dictionaries(
    {
        "SERVICE_RESULT": st.sampled_from(["success", "exit-code", "signal", "timeout", "oom-kill", "watchdog", ""]),
        "EXIT_CODE": st.sampled_from(["exited", "killed", "dumped", ""]),
        "EXIT_STATUS": st.sampled_from(["0", "1", "255", "256", "-5", "KILL", "TERM", "RTMIN+1", "NONE", ""]),
    }
)


def end(folder: Path, report: bytes | None, *, boot: bool = False, **systemd: str) -> Outcome:
    """Return what the program makes of a report and of systemd's words."""
    (folder / "run").unlink(missing_ok=True)
    if report is not None:
        (folder / "run").write_bytes(report)
    argv = [str(native.program("outcome")), "--folder", str(folder), *(["--boot"] if boot else [])]
    subprocess.run(argv, env={"INVOCATION_ID": ID, **systemd}, check=True, timeout=20)
    assert not (folder / "run").exists()
    outcome = StateFile(Outcome).find(folder / "outcome.json")
    assert outcome is not None
    return outcome


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(report=REPORTS, systemd=SYSTEMD, boot=st.booleans())
def test_a_hostile_report_makes_a_valid_outcome(
    tmp_path: Path, report: bytes, systemd: Mapping[str, str], boot: bool
) -> None:
    outcome = end(tmp_path, report, boot=boot, **systemd)
    assert outcome.code is None or outcome.code in range(256)
    assert outcome.signal is None or outcome.signal in range(1, 65)
    expected = {"exited": (True, False), "signaled": (False, True), "not-started": (outcome.code is not None, False)}
    assert (outcome.code is not None, outcome.signal is not None) == expected[outcome.result]
    assert not outcome.core_dumped or outcome.signal is not None
    assert 0 <= outcome.started <= outcome.finished
    assert re.fullmatch("[0-9a-f]{32}", outcome.invocation)


@pytest.mark.parametrize(
    "line",
    [
        *("exit 99999", "exit -1", "exit 256", "exit 3x", "exit  3", "exit 4\0", "x" * 300 + "exit 3"),
        *("signal 0 core", "signal 65 nocore", "signal 9 maybe", "signal 9"),
        *("fail 1 2 x", "fail 128 2 x", "begin 1 " + "f" * 32),
    ],
)
def test_what_init_never_says_is_passed_over(tmp_path: Path, line: str) -> None:
    outcome = end(tmp_path, f"{BEGIN}pid 2\nexit 3\n{line}\n".encode())
    assert (outcome.code, outcome.signal, outcome.reason, outcome.started, outcome.invocation) == (3, None, "", 7, ID)


@pytest.mark.parametrize(
    ("lines", "code", "signal"),
    [("exit 0\nsignal 9 core\n", None, 9), ("signal 9 core\nexit 0\n", 0, None), ("fail 127 2 x\nexit 5\n", 5, None)],
)
def test_the_last_end_counts(tmp_path: Path, lines: str, code: int | None, signal: int | None) -> None:
    outcome = end(tmp_path, f"{BEGIN}pid 2\n{lines}".encode())
    assert (outcome.code, outcome.signal, outcome.reason) == (code, signal, "")
    assert outcome.core_dumped == (signal is not None)


def test_an_end_behind_much_else_counts(tmp_path: Path) -> None:
    flood = b"exit 0\n" * 100_000 + b"\0" * 100
    outcome = end(tmp_path, BEGIN.encode() + b"pid 2\n" + flood + b"\nexit 3\n")
    assert (outcome.code, outcome.started) == (3, 7)
    assert end(tmp_path, BEGIN.encode() + b"\0" * 200_000).signal == 9


@pytest.mark.parametrize(
    ("result", "exit_code", "exit_status"),
    [
        ("timeout", "killed", "KILL"),
        ("timeout", "exited", "1"),
        ("signal", "killed", "TERM"),
        ("oom-kill", "killed", "KILL"),
    ],
)
def test_what_ended_before_the_payload_ran_was_not_started(
    tmp_path: Path, result: str, exit_code: str, exit_status: str
) -> None:
    systemd = {"SERVICE_RESULT": result, "EXIT_CODE": exit_code, "EXIT_STATUS": exit_status}
    outcome = end(tmp_path, BEGIN.encode(), **systemd)
    assert (outcome.result, outcome.code, outcome.signal) == ("not-started", None, None)
    assert outcome.oom == (result == "oom-kill")
    assert result in outcome.reason
    assert end(tmp_path, BEGIN.encode() + b"pid 2\n", **systemd).result == "signaled"
