"""What a container finds inside: environment, users, files, mounts."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from volt_core.errors import CapabilityMissing, InvalidSpec, WrongState
from volt_core.models.mount import Mount
from volt_core.models.network import PublishedPort
from volt_core.models.outcome import Outcome
from volt_core.models.resources import Resources
from volt_core.processes import MARKER
from volt_core.testing.workbench import Pipes, Workbench
from volt_core.workloads.envfile import ENV_FILE

pytestmark = [pytest.mark.needs_proot, pytest.mark.needs_busybox]


def output(bench: Workbench, *command: str, code: int = 0, **spec: Any) -> str:
    """What a container prints that ends with `code`."""
    with Pipes() as pipes:
        workload = bench.create(command, **spec)
        outcome: Outcome = bench.backend.run_attached(workload, pipes.streams, lambda: None)  # type: ignore[attr-defined]
        assert outcome.code == code, pipes.error()
        return pipes.output().decode()


def sh(bench: Workbench, script: str, **options: Any) -> str:
    return output(bench, "sh", "-c", script, **options)


def test_the_environment_is_the_specifications_and_nothing_else(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "1")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    env = {"A": "b=c", "LD_PRELOAD": "/no/such.so"}
    found = dict(line.split("=", 1) for line in output(bench, "env", env=env, hostname="box").splitlines())
    assert found.pop(MARKER)
    assert found == {
        **env,
        "PWD": "/",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "HOSTNAME": "box",
    }


def test_the_environment_is_on_no_command_line(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"), env={"TOKEN": "hunter2-hunter2"})
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"hunter2-hunter2" not in path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    for path in bench.folder(workload).iterdir():
        if path.is_file() and path.name != ENV_FILE:
            assert b"hunter2-hunter2" not in path.read_bytes()


def test_values_of_any_bytes(bench: Workbench) -> None:
    odd = os.fsdecode(b"\xff 'quoted' \"twice\"\nand a line")
    workload = bench.start(("sleep", "1000"))
    with Pipes() as pipes:
        run = bench.backend.exec  # type: ignore[attr-defined]
        run(workload, ("printf", "%s|%s", odd, "\U0001f600"), pipes.streams, env={"ODD": odd})
        assert os.fsdecode(pipes.output()) == f"{odd}|\U0001f600"


def test_a_command_larger_than_a_packet(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"))
    words = [f"{number:04}" + "x" * 996 for number in range(1000)]
    with Pipes() as pipes:
        bench.backend.exec(workload, ("printf", "%s", *words), pipes.streams)  # type: ignore[attr-defined]
        assert pipes.output().decode() == "".join(words)


@pytest.mark.parametrize(
    ("user", "expected"),
    [("", "0 0 /root"), ("www", "33 33 /var/www"), ("www:staff", "33 50 /var/www"), ("4711:12", "4711 12 /")],
)
def test_users_come_from_the_image(bench: Workbench, user: str, expected: str) -> None:
    assert sh(bench, "echo $(id -u) $(id -g) $HOME", user=user).strip() == expected


def test_a_user_that_the_image_does_not_know_is_refused_at_creation(bench: Workbench) -> None:
    with pytest.raises(InvalidSpec, match="nosuch"):
        bench.create(("true",), user="nosuch")


def test_exec_takes_another_user_and_directory(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"), user="www")
    run = bench.backend.exec  # type: ignore[attr-defined]
    for options, expected in (({}, "33 /\n"), ({"user": "guest", "working_dir": "/tmp"}, "1000 /tmp\n")):
        with Pipes() as pipes:
            run(workload, ("sh", "-c", "echo $(id -u) $PWD"), pipes.streams, **options)
            assert pipes.output().decode() == expected


def test_a_working_directory_that_is_missing_is_said(bench: Workbench) -> None:
    workload = bench.create(("true",), working_dir="/no/such")
    with pytest.raises(Exception, match="/no/such"):
        bench.backend.start(workload)


def test_the_root_is_a_private_copy_in_which_nothing_is_left(bench: Workbench, busybox_root: Path) -> None:
    workload = bench.start(("true",))
    bench.backend.wait(workload, bench.patience)
    root = bench.folder(workload) / "rootfs"
    found = {path.relative_to(root) for path in root.rglob("*")}
    expected = {path.relative_to(busybox_root) for path in busybox_root.rglob("*")}
    # As with Docker, targets of the network files that the image lacks are made.
    assert found - expected <= {Path("etc", name) for name in ("resolv.conf", "hosts", "hostname")}
    assert expected <= found


@pytest.mark.parametrize("exists", [True, False], ids=["a file", "nothing"])
def test_a_link_in_place_of_a_network_file_leads_no_start_to_the_host(
    bench: Workbench, tmp_path: Path, exists: bool
) -> None:
    victim = tmp_path / "victim"
    if exists:
        victim.write_text("precious")
    workload = bench.start(("ln", "-sf", str(victim), "/etc/hosts"))
    assert bench.backend.wait(workload, bench.patience).code == 0
    assert (bench.folder(workload) / "etc/hosts").is_symlink()
    bench.backend.start(workload)
    bench.backend.wait(workload, bench.patience)
    assert (victim.read_text() == "precious") if exists else not victim.exists()


def test_a_start_that_is_refused_changes_no_file(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"))
    hosts = bench.folder(workload) / "etc/hosts"
    hosts.write_text("192.0.2.1 changed-inside\n")
    with pytest.raises(WrongState):
        bench.backend.start(workload)
    with Pipes() as pipes, pytest.raises(WrongState):
        bench.backend.run_attached(workload, pipes.streams, lambda: None)  # type: ignore[attr-defined]
    assert hosts.read_text() == "192.0.2.1 changed-inside\n"


def test_a_directory_in_place_of_a_network_file_is_replaced(bench: Workbench) -> None:
    workload = bench.start(("sh", "-c", "test -f /etc/hosts && rm /etc/hosts && mkdir -p /etc/hosts/x"))
    for _ in range(2):
        assert bench.backend.wait(workload, bench.patience).code == 0
        bench.backend.start(workload)
    bench.backend.wait(workload, bench.patience)


def test_network_files_are_copies_of_the_hosts(bench: Workbench) -> None:
    before = Path("/etc/hosts").read_bytes()
    shown = sh(bench, "echo 192.0.2.1 evil >> /etc/hosts; cat /etc/hosts /etc/hostname", hostname="box")
    assert Path("/etc/hosts").read_bytes() == before
    assert "192.0.2.1 evil\nbox\n" in shown
    assert "127.0.1.1\tbox" in shown


def test_mounts_are_shared_and_writable(bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("old")
    mounts = (Mount(source=f"{tmp_path}/dir", target="/data"), Mount(source=f"{tmp_path}/file", target="/etc/one"))
    assert sh(bench, "cat /etc/one; echo new > /data/made; echo written > /etc/one", mounts=mounts) == "old"
    assert (tmp_path / "dir/made").read_text() == "new\n"
    assert (tmp_path / "file").read_text() == "written\n"


def test_a_mount_source_that_is_missing_is_refused(bench: Workbench) -> None:
    with pytest.raises(InvalidSpec, match="/no/such/source"):
        bench.create(("true",), mounts=(Mount(source="/no/such/source", target="/data"),))


@pytest.mark.needs_root
class TestReadOnly:
    """As root; :mod:`test_user` does the same without."""

    def test_mounts_read_only_beside_the_same_source_writable(self, bench: Workbench, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("old")
        mounts = (
            Mount(source=str(tmp_path), target="/ro", read_only=True),
            Mount(source=str(tmp_path), target="/rw"),
            Mount(source=f"{tmp_path}/file", target="/etc/one", read_only=True),
        )
        script = "cat /etc/one; echo x > /etc/one; echo x > /ro/file; rm /ro/file; echo made > /rw/made; cat /ro/made"
        assert sh(bench, script, mounts=mounts) == "oldmade\n"
        assert (tmp_path / "file").read_text() == "old"

    def test_a_mount_below_a_read_only_one_is_read_only_too(self, bench: Workbench) -> None:
        mounts = (Mount(source="/dev", target="/data", read_only=True),)
        assert sh(bench, "touch /data/shm/volt-test 2>&1 || echo refused", mounts=mounts).endswith("refused\n")

    def test_a_read_only_root_with_writable_places(self, bench: Workbench) -> None:
        script = "touch /new 2>&1; rm /bin/ls 2>&1; for d in /tmp /run /var/tmp; do echo x > $d/x && cat $d/x; done"
        text = sh(bench, script, read_only=True)
        assert text.count("Read-only file system") == 2
        assert text.endswith("x\nx\nx\n")

    def test_exec_is_bound_by_it_too(self, bench: Workbench) -> None:
        workload = bench.start(("sh", "-c", "echo x > /tmp/x; exec sleep 1000"), read_only=True)
        bench.wait_for("tmp", lambda: bench.backend.status(workload).pid)
        with Pipes() as pipes:
            run = bench.backend.exec  # type: ignore[attr-defined]
            outcome = run(workload, ("sh", "-c", "cat /tmp/x; touch /new"), pipes.streams)
            assert outcome.code == 1
            assert pipes.output() == b"x\n"
            assert b"Read-only" in pipes.error()

    def test_nothing_of_it_is_mounted_on_the_host(self, bench: Workbench) -> None:
        workload = bench.start(("sleep", "1000"), read_only=True)
        assert workload.name not in Path("/proc/mounts").read_text()
        bench.backend.stop(workload, 0)
        (bench.folder(workload) / "rootfs/new").write_text("x")

    def test_it_is_refused_where_it_cannot_be_enforced(self, bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("volt_proot.probe.can_mount", lambda: False)
        for asked in ({"read_only": True}, {"mounts": (Mount(source="/etc", target="/e", read_only=True),)}):
            with pytest.raises(CapabilityMissing, match="read-only"):
                bench.create(("true",), **asked)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"ports": (PublishedPort(host_port=8080, port=80),)}, "needs no -p"),
        ({"resources": Resources(memory_max=1 << 20)}, "nspawn"),
    ],
)
def test_what_it_lacks_is_refused_with_what_to_do_instead(bench: Workbench, asked: dict[str, Any], word: str) -> None:
    with pytest.raises(CapabilityMissing) as caught:
        bench.create(("true",), **asked)
    assert word in str(caught.value)


def test_secrets_are_readable_by_the_owner_alone(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"))
    folder = bench.folder(workload)
    for name in ("log", "supervisor.sock", "supervisor.lock"):
        assert stat.S_IMODE((folder / name).stat().st_mode) & 0o077 == 0


class TestWithoutInit:
    """Where nothing could be compiled, the image's shell stands in."""

    @pytest.fixture(autouse=True)
    def _no_init(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("volt_core.native.program", lambda name: None)

    def test_exit_codes_signals_and_streams(self, bench: Workbench) -> None:
        assert sh(bench, "echo out; echo error >&2; exit 5", code=5) == "out\n"
        for script, signal in (("kill -USR1 $$", 10), ("kill -KILL $$", 9)):
            workload = bench.start(("sh", "-c", script))
            assert bench.backend.wait(workload, bench.patience).signal == signal

    def test_the_command_does_not_inherit_the_report(self, bench: Workbench) -> None:
        assert sh(bench, "ls /proc/$$/fd; true").split() == ["0", "1", "2"]

    def test_a_report_that_is_none_is_passed_over(self, bench: Workbench) -> None:
        spoil = "for fd in /proc/$PPID/fd/*; do case $fd in */[012]) ;; *) echo exit zero > $fd; esac; done"
        sh(bench, f"{spoil}; exit 4", code=4)

    def test_commands_that_cannot_be_run(self, bench: Workbench) -> None:
        for command, code in (("/no/such", 127), ("/etc/passwd", 126)):
            workload = bench.start((command,))
            assert bench.backend.wait(workload, bench.patience).code == code

    def test_stop_and_kill_reach_the_command(self, bench: Workbench) -> None:
        workload = bench.start(("sh", "-c", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"))
        bench.wait_for("ready", lambda: bench.lines(workload))
        bench.backend.stop(workload, 10)
        assert bench.lines(workload) == [b"ready", b"bye"]
        outcome = bench.backend.status(workload).outcome
        assert outcome is not None
        assert outcome.code == 3

    def test_it_stops_when_it_must(self, bench: Workbench) -> None:
        workload = bench.start(("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"))
        bench.wait_for("ready", lambda: bench.lines(workload))
        bench.backend.stop(workload, 0.2)
        outcome = bench.backend.status(workload).outcome
        assert outcome is not None
        assert outcome.signal == 9


def test_the_record_of_a_power_cut_is_no_error(bench: Workbench) -> None:
    workload = bench.start(("true",))
    bench.backend.wait(workload, bench.patience)
    before = bench.backend.status(workload)
    record = bench.folder(workload) / "supervisor.json"
    record.write_bytes(b"")
    assert bench.backend.status(workload) == before
    bench.backend.start(workload)


def test_a_record_of_another_boot_is_not_running(bench: Workbench) -> None:
    workload = bench.start(("sleep", "1000"))
    record = bench.folder(workload) / "supervisor.json"
    text = record.read_bytes()
    record.write_bytes(msgspec.json.encode({**msgspec.json.decode(text), "boot_id": "another"}))
    assert bench.backend.status(workload).note
    record.write_bytes(text)
    assert bench.backend.status(workload).status.active
