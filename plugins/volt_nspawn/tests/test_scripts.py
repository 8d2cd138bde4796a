"""What is rendered for an installation without programs, and the scripts themselves; nothing is run by systemd."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from volt_core import native
from volt_core.errors import BackendUnavailable
from volt_core.models.outcome import Outcome
from volt_core.models.workload import ContainerSpec, Kind, Workload
from volt_core.paths import VoltPaths
from volt_core.state import StateFile
from volt_core.systemd.libexec import SCRIPTS, install_programs
from volt_core.systemd.transient import build_properties
from volt_core.testing.fakes import MemoryStore
from volt_nspawn.argv import build_end_argv, build_start_argv
from volt_nspawn.environment import withheld_note
from volt_nspawn.fallback import write_exports
from volt_nspawn.plan import ContainerPlan, plan_container
from volt_nspawn.settings import render_settings
from volt_nspawn.unit import build_unit, render_unit


@pytest.fixture(autouse=True)
def _no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "program", lambda name: None)


@pytest.fixture
def store(paths: VoltPaths) -> MemoryStore:
    return MemoryStore(paths.store)


@pytest.fixture
def root(store: MemoryStore, tmp_path: Path) -> str:
    tree = tmp_path / "tree"
    (tree / "usr").mkdir(parents=True)
    (tree / "sbin").mkdir()
    (tree / "sbin/init").touch()
    return store.put_directory(tree).digest


def plan(paths: VoltPaths, store: MemoryStore, root: str, **changes: Any) -> ContainerPlan:
    spec = msgspec.structs.replace(ContainerSpec(image="i", root=root, command=("sleep", "9")), **changes)
    workload = Workload(name="web", id="0" * 32, kind=Kind.CONTAINER, backend="nspawn", spec=spec, created=1)
    return plan_container(workload, paths, store)


def test_the_stub_runs_the_command(paths: VoltPaths, store: MemoryStore, root: str) -> None:
    planned = plan(paths, store, root, working_dir="/srv")
    argv = build_start_argv(planned)
    assert argv[-4:] == ["--as-pid2", "--chdir=/srv", "sleep", "9"]
    assert "--kill-signal=SIGRTMIN+3" in argv
    (stop,) = build_unit(planned).values("Service", "ExecStop")
    assert stop.split() == [f"{planned.programs}/stop.sh", str(planned.folder), str(int(signal.SIGTERM))]
    assert not any("CAP_SYS_BOOT" in word or "/run/volt" in word for word in argv)
    assert "--boot" not in argv
    assert "ProcessTwo=yes" in render_settings(planned)


def test_an_init_is_started_as_ever(paths: VoltPaths, store: MemoryStore, root: str) -> None:
    argv = build_start_argv(plan(paths, store, root, boot=True, command=()))
    assert argv[-1] != "--as-pid2"
    assert "--boot" in argv
    assert "--kill-signal=SIGUSR2" in argv


@pytest.mark.parametrize("boot", [False, True])
def test_a_unit_calls_scripts_that_are_installed(paths: VoltPaths, store: MemoryStore, root: str, boot: bool) -> None:
    planned = plan(paths, store, root, boot=boot)
    folder = install_programs(paths)
    assert sorted(path.name for path in folder.iterdir()) == sorted(SCRIPTS)
    for word in (build_start_argv(planned)[4], build_end_argv(planned)[0]):
        assert Path(word).parent == folder
        assert os.access(word, os.X_OK)
    assert "python" not in render_unit(planned)
    assert build_properties(build_unit(planned, transient=True)), "a transient unit can have all of it"


def test_variables_come_by_a_script_that_only_root_reads(
    paths: VoltPaths, store: MemoryStore, root: str, tmp_path: Path
) -> None:
    env = {"A": 'it\'s $HOME\n\\ "%n"', "LD_PRELOAD": "/x", "NOT.SHELL": "1", "UID": "7", "B": ""}
    planned = plan(paths, store, root, env=env)
    assert planned.passed == ("A", "B")
    assert [word for word in build_start_argv(planned) if word.startswith("--setenv")] == ["--setenv=A", "--setenv=B"]
    assert "it's" not in render_unit(planned) + render_settings(planned)
    write_exports(tmp_path, planned.passed, env)
    file = tmp_path / "exports"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    done = subprocess.run(["sh", "-euc", f'. {file}; printf "%s|%s" "$A" "$B"'], capture_output=True, check=True)
    assert done.stdout.decode() == f"{env['A']}|"
    assert withheld_note(env, True).startswith("its first process does not get LD_PRELOAD, NOT.SHELL, UID:")
    assert withheld_note({"A": "1"}, True) == ""


@pytest.mark.parametrize(
    ("changes", "act"), [({"tty": True}, "give 'web' a terminal"), ({"user": "33"}, "run 'web' as another user")]
)
def test_what_a_script_cannot_do_is_refused(
    paths: VoltPaths, store: MemoryStore, root: str, changes: dict[str, Any], act: str
) -> None:
    with pytest.raises(BackendUnavailable, match=f"Cannot {act}") as caught:
        plan(paths, store, root, **changes)
    assert caught.value.hint == "Install gcc and libc6-dev, then reinstall volt-core."


@pytest.mark.parametrize(
    ("result", "code", "status", "expected"),
    [
        ("success", "exited", "0", {"code": 0}),
        ("exit-code", "exited", "3", {"code": 3}),
        ("signal", "killed", "KILL", {"signal": signal.SIGKILL, "reason": "systemd-nspawn was killed"}),
        ("signal", "killed", "TERM", {"signal": signal.SIGTERM, "reason": "systemd-nspawn was killed"}),
        ("timeout", "exited", "0", {"signal": signal.SIGKILL}),
        ("oom-kill", "killed", "KILL", {"signal": signal.SIGKILL, "oom": True}),
    ],
)
def test_the_outcome_is_what_systemd_says(
    paths: VoltPaths, tmp_path: Path, result: str, code: str, status: str, expected: dict[str, Any]
) -> None:
    (tmp_path / "run").write_text(f"begin 17 {'a' * 32}\n")
    outcome = end(paths, tmp_path, SERVICE_RESULT=result, EXIT_CODE=code, EXIT_STATUS=status)
    assert not (tmp_path / "run").exists()
    found = msgspec.to_builtins(outcome)
    kind = "signaled" if "signal" in expected else "exited"
    wanted = {**expected, "started": 17, "finished": outcome.finished, "invocation": "a" * 32}
    assert found == wanted | ({"result": kind} if kind != "exited" else {})
    assert outcome.finished > 17


def test_the_signal_of_a_stop_is_told_from_a_code(paths: VoltPaths, tmp_path: Path) -> None:
    (tmp_path / "run").write_text(f"begin 17 {'a' * 32}\nstop 3\n")
    outcome = end(paths, tmp_path, SERVICE_RESULT="exit-code", EXIT_CODE="exited", EXIT_STATUS="255")
    assert (outcome.signal, outcome.code) == (signal.SIGQUIT, None)
    (tmp_path / "run").write_text(f"begin 17 {'a' * 32}\nstop 3\n")
    outcome = end(paths, tmp_path, SERVICE_RESULT="success", EXIT_CODE="exited", EXIT_STATUS="0")
    assert (outcome.signal, outcome.code) == (None, 0)


def test_a_run_that_never_began_is_told(paths: VoltPaths, tmp_path: Path) -> None:
    outcome = end(
        paths, tmp_path, SERVICE_RESULT="exit-code", EXIT_CODE="exited", EXIT_STATUS="203", INVOCATION_ID="b" * 32
    )
    assert (outcome.result, outcome.code, outcome.invocation) == ("not-started", None, "b" * 32)
    assert outcome.reason == "the unit failed: exit-code, exit status 203"


def end(paths: VoltPaths, folder: Path, **env: str) -> Outcome:
    """Run the script as systemd would, and return what it kept."""
    script = install_programs(paths) / "outcome.sh"
    subprocess.run([script, folder], env={"PATH": "/usr/bin:/bin", **env}, check=True)
    return StateFile(Outcome).read(folder / "outcome.json")
