"""A real systemd over D-Bus."""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from volt_core.errors import TimedOut
from volt_core.systemd.bus import JobFailed, Systemd
from volt_core.systemd.client import SystemdError
from volt_core.systemd.machine import cgroup_of
from volt_core.systemd.transient import build_properties
from volt_core.systemd.unitfile import Section, Unit
from volt_core.systemd.unitstate import UnitState
from volt_core.testing.workbench import background

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root]

LIMIT = 30.0
FOLDER = Path("/run/systemd/system")
MakeUnit = Callable[..., str]


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with Systemd() as systemd:
        yield systemd


@pytest.fixture
def prefix() -> str:
    return f"volt-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make(prefix: str, systemd: Systemd) -> Iterator[MakeUnit]:
    """Write the file of a service with these assignments, and return its name; it is stopped afterwards."""
    names: set[str] = set()

    def write(*service: str, name: str = "a") -> str:
        unit = f"{prefix}-{name}.service"
        FOLDER.joinpath(unit).write_text("\n".join(["[Service]", *service, "[Install]", "WantedBy=multi-user.target"]))
        names.add(unit)
        return unit

    yield write
    for unit in names:
        systemd.kill(unit, signal.SIGKILL)
        systemd.run_job("StopUnit", unit, timeout=LIMIT)
        FOLDER.joinpath(unit).unlink()
        systemd.reset_failed(unit)
    systemd.reload()


def script(text: str) -> str:
    return f"ExecStart=/bin/sh -c '{text}'"


SLEEPS = script("exec sleep 1000")


def test_a_job_is_awaited(systemd: Systemd, make: MakeUnit) -> None:
    unit = make("Type=oneshot", "RemainAfterExit=yes", script("sleep 0.3; touch /run/%n"))
    systemd.run_job("StartUnit", unit, timeout=LIMIT)
    try:
        assert Path("/run", unit).exists()
    finally:
        Path("/run", unit).unlink(missing_ok=True)
    assert systemd.show(unit).active == "active"


def test_a_job_that_fails_is_raised_when_all_have_ended(systemd: Systemd, make: MakeUnit) -> None:
    bad = make("Type=oneshot", script("exit 3"), name="bad")
    slow = make("Type=oneshot", "RemainAfterExit=yes", script("sleep 0.5"), name="slow")
    with pytest.raises(JobFailed, match=bad) as failed:
        systemd.run_jobs("StartUnit", [bad, slow], timeout=LIMIT)
    assert failed.value.result == "failed"
    assert systemd.show(slow).active == "active"
    assert (systemd.show(bad).active, systemd.show(bad).result) == ("failed", "exit-code")
    systemd.reset_failed(bad)
    assert systemd.show(bad).active == "inactive"


def test_a_job_that_somebody_cancels_is_raised(systemd: Systemd, make: MakeUnit) -> None:
    unit = make("Type=oneshot", script("exec sleep 1000"))

    def start() -> JobFailed:
        with pytest.raises(JobFailed) as failed:
            _start_alone(unit)
        return failed.value

    with background(start) as starting:
        systemd.await_state(unit, lambda state: state.active == "activating", LIMIT)
        subprocess.run(["systemctl", "stop", unit], check=True, timeout=LIMIT)
        assert starting.result(LIMIT).result == "canceled"


def test_a_job_that_takes_too_long_is_left_alone(systemd: Systemd, make: MakeUnit) -> None:
    unit = make("Type=oneshot", script("exec sleep 1000"))
    with pytest.raises(TimedOut, match="does not report the job") as late:
        systemd.run_job("StartUnit", unit, timeout=0.2)
    assert late.value.hint == "See: systemctl list-jobs"
    assert systemd.show(unit).active == "activating"


def test_a_job_outlasts_a_new_systemd(systemd: Systemd, make: MakeUnit) -> None:
    unit = make("Type=oneshot", "RemainAfterExit=yes", script("sleep 2"))
    with background(lambda: _start_alone(unit)) as starting:
        systemd.await_state(unit, lambda state: state.active == "activating", LIMIT)
        subprocess.run(["systemctl", "daemon-reexec"], check=True, timeout=LIMIT)
        starting.result(LIMIT)
    assert systemd.show(unit).active == "active"


def test_a_transient_unit(systemd: Systemd, prefix: str) -> None:
    unit = f"{prefix}.service"
    properties = build_properties(
        Unit(
            (Section("Service", (("ExecStart", '/bin/sh -c "echo 100%%; exec sleep 1000"'), ("TimeoutStopSec", "5"))),)
        )
    )
    systemd.start_transient(unit, properties, timeout=LIMIT)
    state = systemd.show(unit)
    assert (state.active, state.stop_seconds) == ("active", 5.0)
    with pytest.raises(SystemdError, match="refused StartTransientUnit") as refused:
        systemd.start_transient(unit, properties, timeout=LIMIT)
    assert refused.value.name == "org.freedesktop.systemd1.UnitExists"
    systemd.stop(unit, patience=5, timeout=LIMIT)
    assert systemd.show(unit).load == "not-found"


def test_what_does_not_end_in_time_is_killed(systemd: Systemd, make: MakeUnit) -> None:
    unit = make("TimeoutStopSec=1000", "KillSignal=SIGURG", SLEEPS)  # which does nothing
    systemd.run_job("StartUnit", unit, timeout=LIMIT)
    systemd.stop(unit, patience=0.5, timeout=LIMIT)
    assert systemd.show(unit).active == "failed"


def test_more_patience_than_the_unit_has_leaves_no_trace(systemd: Systemd, make: MakeUnit) -> None:
    # systemd would kill after a second, and the result would be "timeout".
    unit = make("TimeoutStopSec=1", "ExecStop=/bin/sleep 2", SLEEPS)
    systemd.run_job("StartUnit", unit, timeout=LIMIT)
    systemd.stop(unit, patience=60, timeout=LIMIT)
    assert systemd.show(unit).result == "success"
    assert not FOLDER.joinpath(f"{unit}.d").exists()
    systemd.reload_if_needed([unit])
    assert systemd.show(unit).stop_seconds == 1.0


def test_a_state_is_what_systemd_knows(systemd: Systemd, make: MakeUnit, prefix: str) -> None:
    assert systemd.show(f"{prefix}-nosuch.service").load == "not-found"
    unit = make(SLEEPS)
    assert systemd.show(unit).active == "inactive"
    systemd.run_job("StartUnit", unit, timeout=LIMIT)
    state = systemd.show(unit)
    assert (state.load, state.sub, state.fragment) == ("loaded", "running", str(FOLDER / unit))
    assert cgroup_of(state.main_pid).name == unit
    assert len(state.invocation) == 32
    assert state.entered > 0
    assert systemd.active_units(f"{prefix}-*.service") == {unit}
    systemd.kill(unit, signal.SIGKILL)
    ended = systemd.await_state(unit, lambda state: not state.is_active, LIMIT)
    assert ended is not None
    assert (ended.active, systemd.show(unit).result) == ("failed", "signal")
    assert systemd.active_units(f"{prefix}-*.service") == set()


def test_what_is_gone_is_stopped(systemd: Systemd, prefix: str) -> None:
    systemd.stop(f"{prefix}-nosuch.service", patience=1.0, timeout=1.0)


def test_a_changed_file_is_read_again_when_needed_and_not_otherwise(
    systemd: Systemd, make: MakeUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before there is anything of ours: that a new unit needs no reload is what is looked at.
    systemd.reload()
    unit = make(SLEEPS)
    systemd.run_job("StartUnit", unit, timeout=LIMIT)
    reloads: list[None] = []
    reload = Systemd.reload
    monkeypatch.setattr(Systemd, "reload", lambda self: (reloads.append(None), reload(self)))
    systemd.reload_if_needed([unit, unit])
    assert reloads == []
    make("TimeoutStopSec=7", SLEEPS)
    assert systemd.show(unit).need_reload
    systemd.reload_if_needed([unit, unit])
    assert len(reloads) == 1
    assert systemd.show(unit).stop_seconds == 7.0


def test_a_state_that_does_not_come_is_none(systemd: Systemd, make: MakeUnit) -> None:
    unit = make(SLEEPS)
    systemd.run_job("StartUnit", unit, timeout=LIMIT)
    assert systemd.await_state(unit, lambda state: not state.is_active, 0.2) is None


def test_the_end_of_a_unit_that_is_forgotten_at_once_is_seen(systemd: Systemd, prefix: str) -> None:
    unit = f"{prefix}.service"
    section = Section("Service", (("ExecStart", "/bin/sleep 1"),))
    systemd.start_transient(
        unit,
        build_properties(Unit((Section("Unit", (("CollectMode", "inactive-or-failed"),)), section))),
        timeout=LIMIT,
    )
    ended = systemd.await_state(unit, lambda state: not state.is_active, LIMIT)
    assert isinstance(ended, UnitState)


def test_freezing(systemd: Systemd, make: MakeUnit) -> None:
    unit = make(SLEEPS)
    with pytest.raises(SystemdError):
        systemd.freeze(unit)
    systemd.run_job("StartUnit", unit, timeout=LIMIT)
    systemd.freeze(unit)
    assert systemd.show(unit).freezer == "frozen"
    systemd.thaw(unit)
    assert systemd.show(unit).freezer == "running"


def test_enabling(systemd: Systemd, prefix: str) -> None:
    unit = Path("/etc/systemd/system", f"{prefix}.service")
    link = unit.parent / "multi-user.target.wants" / unit.name
    unit.write_text("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
    try:
        systemd.enable(unit.name)
        assert link.resolve() == unit
        systemd.enable(unit.name)
        systemd.disable(unit.name)
        assert not link.is_symlink()
    finally:
        link.unlink(missing_ok=True)
        unit.unlink()


def test_what_is_not_there_has_nothing_to_lose(systemd: Systemd, prefix: str) -> None:
    unit = f"{prefix}.service"
    systemd.reset_failed(unit)
    systemd.kill(unit, signal.SIGTERM)
    with pytest.raises(SystemdError, match="refused StartUnit") as refused:
        systemd.run_job("StartUnit", unit, timeout=LIMIT)
    assert refused.value.no_such_unit


def test_a_connection_that_was_lost_is_made_again(systemd: Systemd, make: MakeUnit) -> None:
    unit = make(SLEEPS)
    systemd.run_job("StartUnit", unit, timeout=LIMIT)
    systemd.close()
    assert systemd.show(unit).active == "active"
    systemd.run_job("StopUnit", unit, timeout=LIMIT)


def _start_alone(unit: str) -> None:
    """Start a unit by a connection of one's own: one serves one thread."""
    with Systemd() as systemd:
        systemd.run_job("StartUnit", unit, timeout=LIMIT)
