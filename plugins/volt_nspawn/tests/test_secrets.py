"""Values of the environment are where the payload and root can read them, and nowhere else."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from volt_core.systemd.bus import unit_path
from volt_core.testing.command import Command
from volt_core.testing.users import ORDINARY_USER

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root, pytest.mark.needs_busybox]

UnitOf = Callable[[str], str]
MakeImage = Callable[..., str]
SECRET = "hunter2-very-secret"
_UNIT_FOLDERS = ("/etc/systemd", "/run/systemd", "/usr/lib/systemd/system")
_AS_OTHER = ("setpriv", "--reuid", ORDINARY_USER, "--regid", "nogroup", "--clear-groups", "--")


def add_init(tree: Path) -> None:
    """Make a tree that can be booted."""
    (tree / "sbin").mkdir()
    (tree / "etc").mkdir()
    (tree / "etc/os-release").touch()
    (tree / "sbin/init").write_text("#!/bin/busybox sh\nwhile :; do busybox sleep 1; done\n")
    (tree / "sbin/init").chmod(0o755)


@pytest.fixture(params=["detached", "transient", "boot"])
def running(request: pytest.FixtureRequest, volt: Command, make_image: MakeImage) -> Iterator[str]:
    """A container that has a secret and runs, by each of the ways that there are."""
    image, options = make_image(add_init), {"detached": [], "transient": ["--rm"], "boot": ["--boot"]}
    command = [] if request.param == "boot" else ["busybox", "sleep", "1000"]
    words = ["--detach", *options[request.param], "--env", f"TOKEN={SECRET}", "--name", "web", image, *command]
    volt.ok("run", *words)
    yield "web"
    volt.ok("delete", "--force", "web")


def output(*argv: str) -> str:
    """Return what a program prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def processes_that_show(word: str, name: str, *, user: bool) -> list[str]:
    """Return the files of processes, called `name`, that hold the word; those that root can read, or another user."""
    if user:
        os.seteuid(pwd.getpwnam(ORDINARY_USER).pw_uid)
    try:
        return [str(path) for path in Path("/proc").glob(f"[0-9]*/{name}") if word.encode() in _content(path)]
    finally:
        os.seteuid(0)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_payload_has_it(volt: Command, running: str) -> None:
    assert volt.process("exec", running, "busybox", "sh", "-c", "echo $TOKEN").stdout == f"{SECRET}\n".encode()


def test_no_unit_holds_it(running: str, unit_of: UnitOf) -> None:
    found = subprocess.run(["grep", "-rsl", SECRET, *_UNIT_FOLDERS], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    assert SECRET not in output("systemctl", "show", "--all", unit_of(running))
    assert SECRET not in output("systemctl", "cat", unit_of(running))


def test_the_bus_tells_nobody(running: str, unit_of: UnitOf) -> None:
    call = ["busctl", "call", "org.freedesktop.systemd1", unit_path(unit_of(running))]
    told = output(*_AS_OTHER, *call, "org.freedesktop.DBus.Properties", "GetAll", "s", "")
    assert "ExecStart" in told
    assert SECRET not in told


def test_no_command_line_shows_it(running: str) -> None:
    assert processes_that_show(SECRET, "cmdline", user=False) == []


def test_only_root_finds_it_in_an_environment(running: str) -> None:
    with subprocess.Popen([*_AS_OTHER, "sleep", "1000"], env={**os.environ, "OWN": SECRET}) as own:
        try:
            assert processes_that_show(SECRET, "environ", user=False)
            assert processes_that_show(SECRET, "environ", user=True) in ([], [f"/proc/{own.pid}/environ"])
        finally:
            own.kill()


def test_no_other_user_can_read_the_file(volt: Command, running: str) -> None:
    file = volt.root / "lib/containers" / running / "env"
    assert SECRET in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    for path in (file, file.with_name("container.json")):
        assert subprocess.run([*_AS_OTHER, "cat", path], capture_output=True, check=False).returncode != 0
    assert SECRET not in file.with_name("container.json").read_text()


def test_that_of_an_exec_is_not_shown_either(volt: Command) -> None:
    volt.ok("run", "--detach", "--name", "web", "box", "sleep", "1000")
    words = ("exec", "--env", f"TOKEN={SECRET}", "web", "sh", "-c", 'test -n "$TOKEN" && echo ready && sleep 1000')
    with volt.start(*words, stdout=subprocess.PIPE) as exec_:
        assert exec_.stdout is not None
        assert exec_.stdout.readline() == b"ready\n"
        # The one who typed it has it in his own command line, as with any program.
        assert processes_that_show(SECRET, "cmdline", user=False) == [f"/proc/{exec_.pid}/cmdline"]
        assert processes_that_show(SECRET, "environ", user=True) == []
        volt.ok("delete", "--force", "web")
        exec_.wait(60)


def test_two_instances_never_meet(
    volt: Command, busybox_root: Path, tmp_path: Path, unit_of: UnitOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    volt.ok("run", "--detach", "--name", "web", "box", "sleep", "1000")
    other = Command(tmp_path / "other", volt.capture)
    with monkeypatch.context() as patch:
        patch.setenv("VOLT_ROOT", str(other.root))
        assert other.ok("ps", "--all", "--quiet") == ""
        other.ok("image", "import", "--quiet", str(busybox_root), "box")
        other.ok("run", "--detach", "--restart", "always", "--name", "web", "box", "sh", "-c", "echo other; sleep 1000")
        assert len(output("machinectl", "list", "--no-legend").splitlines()) == 2
        other.ok("delete", "--force", "web")
        assert other.ok("ps", "--all", "--quiet") == ""
    assert volt.ok("ps", "--quiet") == "web\n"
    assert "other" not in volt.ok("logs", "web")
    assert output("systemctl", "is-active", unit_of("web")) == "active\n"
    assert os.path.exists(f"/etc/systemd/system/{unit_of('web')}")
