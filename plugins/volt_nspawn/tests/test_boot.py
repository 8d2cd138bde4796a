"""Containers that boot: systemd of the host's own release, from the command line and the real store."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from volt_core.testing import users

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Instance

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root]

_HANGS = "[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity\n"
_INITTAB = "::sysinit:/bin/sh -c 'echo up $GREETING'\n::respawn:/bin/sleep 1000\n::shutdown:/bin/echo down\n"
_FAILS = "[Service]\nType=oneshot\nExecStart=/bin/false\n"
_LEAVES = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/bin/sh -c 'echo left >/left'\n"
_STAYS = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/bin/sleep infinity\n"


def boot(volt: Instance, *options: str) -> None:
    """Start the container 'box'."""
    assert volt("run", "-d", "--name", "box", "--boot", *options, "debian") == "box"


def create(volt: Instance, *options: str, **units: str) -> Path:
    """Create 'box' with more units, which it starts when it boots; return what is writable of its root."""
    volt("create", "--name", "box", "--boot", *options, "debian")
    upper = volt.folder("box") / "upper"
    for name, text in units.items():
        folder = upper / "etc/systemd/system"
        (folder / "multi-user.target.wants").mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.service").write_text(text)
        (folder / "multi-user.target.wants" / f"{name}.service").symlink_to(f"../{name}.service")
    return upper


def inside(volt: Instance, *command: str) -> str:
    """Run a command in 'box', whatever it ends with."""
    return volt.process("exec", "box", *command).stdout.decode().strip()


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestStart:
    def test_it_returns_when_the_inner_system_is_up(self, instance: Instance) -> None:
        boot(instance, "--hostname", "inner.example")
        assert inside(instance, "systemctl", "is-system-running") == "running"
        assert inside(instance, "cat", "/proc/1/comm", "/proc/sys/kernel/hostname") == "systemd\ninner.example"
        assert instance("ps", "--quiet") == "box"
        assert instance.state("box")["status"] == "running"
        assert "systemd" in Path(f"/proc/{instance.state('box')['pid']}/comm").read_text()

    def test_its_name_is_not_the_images(self, instance: Instance) -> None:
        upper = create(instance)
        (upper / "etc").mkdir(exist_ok=True)
        (upper / "etc/hostname").write_text("of-the-image\n")
        instance("start", "box")
        assert inside(instance, "cat", "/proc/sys/kernel/hostname") == "box"

    def test_a_system_that_is_degraded_is_up(self, instance: Instance) -> None:
        create(instance, bad=_FAILS)
        instance("start", "box")
        assert inside(instance, "systemctl", "is-system-running") == "degraded"

    def test_one_that_is_never_up_fails_at_the_time_limit(
        self, instance: Instance, drop_in: Callable[[str, str], None]
    ) -> None:
        create(instance, hang=_HANGS)
        drop_in(instance.unit("box"), "[Service]\nTimeoutStartSec=3\n")
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        done = instance.process("start", "box")
        assert done.returncode == 5
        assert b"Cannot start 'box': its init was not up in time. (See: " in done.stderr
        assert instance.state("box")["status"] == "failed"
        assert "Starting hang.service" in instance("logs", "box")

    def test_an_init_that_ends_before_it_is_up(self, instance: Instance) -> None:
        create(instance, end="[Service]\nType=oneshot\nExecStart=/bin/systemctl exit 3\n", hang=_HANGS)
        done = instance.process("start", "box")
        assert done.returncode == 5
        assert b"Cannot start 'box': its init ended with 3 before it was up." in done.stderr

    def test_an_image_without_init_is_refused(self, instance: Instance, busybox_root: Path) -> None:
        instance("image", "import", str(busybox_root), "noinit")
        done = instance.process("create", "--boot", "noinit")
        assert done.returncode == 2
        assert b"image 'noinit:latest' has no init to boot. (Leave out --boot" in done.stderr


class TestEnd:
    def test_a_stop_is_an_orderly_power_off(self, instance: Instance) -> None:
        upper = create(instance, leaves=_LEAVES)
        instance("start", "box")
        instance("stop", "box")
        assert (upper / "left").read_text() == "left\n"
        state = instance.state("box")
        assert (state["status"], state["outcome"]["code"]) == ("stopped", 0)

    def test_what_does_not_power_off_in_time_is_killed(self, instance: Instance) -> None:
        create(instance, stays=_STAYS)
        instance("start", "box")
        instance("stop", "-t", "1", "box")
        state = instance.state("box")
        assert (state["status"], state["outcome"]["signal"]) == ("failed", signal.SIGKILL)

    def test_an_inner_poweroff_ends_it(self, instance: Instance) -> None:
        boot(instance)
        inside(instance, "systemctl", "poweroff")
        assert instance("wait", "box") == "0"
        assert instance.state("box")["status"] == "stopped"

    def test_an_inner_exit_code_is_its_own(self, instance: Instance) -> None:
        boot(instance)
        inside(instance, "systemctl", "exit", "7")
        assert instance("wait", "box") == "7"
        assert instance.state("box")["status"] == "failed"

    def test_an_inner_reboot_starts_it_again(self, instance: Instance) -> None:
        boot(instance)
        first = instance.state("box")
        waiting = subprocess.Popen(instance.argv("wait", "box"), stdout=subprocess.PIPE)
        inside(instance, "systemctl", "reboot")
        wait_until(lambda: instance.state("box").get("pid") not in (None, first["pid"]))
        wait_until(lambda: inside(instance, "systemctl", "is-system-running") == "running")
        assert waiting.poll() is None, "what is rebooted has not ended for whoever waits"
        instance("stop", "box")
        assert waiting.communicate(timeout=60)[0] == b"0\n"

    def test_with_restart_always_a_poweroff_starts_it_again(self, instance: Instance) -> None:
        boot(instance, "--restart", "always")
        first = instance.state("box")["pid"]
        inside(instance, "systemctl", "poweroff")
        wait_until(lambda: instance.state("box").get("pid") not in (None, first))
        instance("stop", "box")
        assert instance.state("box")["status"] == "stopped"

    def test_a_kill_is_told_from_an_end_of_its_own(self, instance: Instance) -> None:
        boot(instance)
        instance("kill", "box")
        assert instance("wait", "box") == str(128 + signal.SIGKILL)

    @pytest.mark.parametrize("end", ["stop", "kill"])
    def test_nothing_is_left_of_a_deleted_one(self, instance: Instance, end: str) -> None:
        # machined and journald make what they need at the first.
        boot(instance)
        instance("delete", "--force", "box")
        before = instance.census()
        boot(instance, "-v", "/srv:/mnt/srv:ro")
        assert before.left(instance.census()).keys() >= {"cgroups", "processes", "units", "files"}
        instance(end, "box")
        instance("wait", "box")
        instance("delete", "box")
        assert before.left(instance.census()) == {}


class TestInside:
    def test_a_command_is_in_the_cgroup_of_the_init(self, instance: Instance) -> None:
        boot(instance)
        assert inside(instance, "cat", "/proc/self/cgroup").split("\n")[-1] == "0::/init.scope"
        assert instance.process("exec", "box", "sh", "-c", "exit 9").returncode == 9

    def test_it_has_no_more_rights_than_the_init(self, instance: Instance) -> None:
        boot(instance)
        fields = ["grep", "-E", "CapBnd|CapEff|Seccomp|NoNewPrivs"]
        assert inside(instance, *fields, "/proc/self/status") == inside(instance, *fields, "/proc/1/status")

    def test_shell_finds_one_and_gives_it_a_terminal(self, instance: Instance) -> None:
        boot(instance)
        assert instance.process("shell", "box", stdin=b"echo $0\n").stdout == b"/bin/bash\n"
        assert b"/dev/pts/" in _on_terminal(instance.argv("exec", "-it", "box", "tty"))

    def test_machinectl_knows_it(self, instance: Instance) -> None:
        boot(instance)
        machine = instance.machine("box")
        listed = json.loads(_output("machinectl", "list", "--output=json"))
        assert {"machine": machine, "class": "container", "service": "systemd-nspawn"}.items() <= next(
            item for item in listed if item["machine"] == machine
        ).items()
        assert instance.unit("box") in _output("machinectl", "status", "--no-pager", machine)
        said = _on_terminal(["machinectl", "--quiet", "shell", machine, "/bin/cat", "/proc/self/cgroup"])
        assert b"container-shell@" in said

    def test_the_inner_journal_is_read_from_outside(self, instance: Instance) -> None:
        boot(instance)
        inside(instance, "sh", "-c", "echo from within | systemd-cat -t test; journalctl --sync")
        said = _output("journalctl", "-M", instance.machine("box"), "-t", "test", "-o", "cat")
        assert said == "from within\n"
        instance("stop", "box")
        journal = instance.folder("box") / "upper/var/log/journal"
        assert _output("journalctl", f"--directory={journal}", "-t", "test", "-o", "cat") == said

    def test_the_log_is_the_console(self, instance: Instance) -> None:
        boot(instance)
        inside(instance, "sh", "-c", "echo by hand >/dev/console")
        records = [json.loads(line) for line in instance("logs", "--json", "box").splitlines()]
        assert {record["stream"] for record in records} == {"console"}
        messages = [record["message"] for record in records]
        assert any("Welcome to Debian" in message for message in messages)
        assert messages[-1] == "by hand"
        instance("stop", "box")
        assert "nspawn" not in "".join(instance("logs", "box").splitlines()[len(messages) :])

    def test_a_signal_goes_to_the_init(self, instance: Instance) -> None:
        boot(instance)
        instance("kill", "--signal", "HUP", "box")
        wait_until(lambda: "Reloading" in inside(instance, "journalctl", "_PID=1", "-o", "cat"))
        assert instance.state("box")["status"] == "running"

    def test_freeze_and_thaw(self, instance: Instance) -> None:
        boot(instance)
        instance("freeze", "box")
        assert instance.state("box")["status"] == "frozen"
        assert b"it is frozen" in instance.process("exec", "box", "true").stderr
        instance("thaw", "box")
        assert inside(instance, "systemctl", "is-system-running") == "running"
        instance("freeze", "box")
        instance("stop", "box")
        assert instance.state("box")["outcome"]["code"] == 0


class TestOptions:
    def test_variables_reach_the_init_and_stand_nowhere_else(self, instance: Instance, tmp_path: Path) -> None:
        file = tmp_path / "env"
        file.write_text("FROM_FILE=s3cret two\n")
        value = "s3cret one\n'\"$HOME %n"
        boot(instance, "--env-file", str(file), "-e", f"FROM_WORD={value}")
        found = inside(instance, "cat", "/proc/1/environ").split("\0")
        assert {f"FROM_WORD={value}", "FROM_FILE=s3cret two"} <= set(found)
        shown = f"systemctl show {instance.unit('box')}; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
        said = subprocess.run(users.as_user_argv("sh", "-c", shown), capture_output=True, text=True, check=False).stdout
        assert "--setenv=FROM_WORD" in said
        assert "s3cret" not in said
        for folder in ("/etc/systemd", "/run/systemd"):
            for path in Path(folder).rglob("*"):
                assert not path.is_file() or b"s3cret" not in path.read_bytes()

    def test_what_would_act_on_nspawn_is_withheld_and_named(self, instance: Instance) -> None:
        boot(instance, "-e", "SYSTEMD_SECCOMP=0", "-e", "LD_PRELOAD=/nosuch.so", "-e", "TZ=UTC")
        names = [word.partition("=")[0] for word in inside(instance, "cat", "/proc/1/environ").split("\0")]
        assert "TZ" in names
        assert not {"SYSTEMD_SECCOMP", "LD_PRELOAD"} & set(names)
        assert "Seccomp:\t2" in inside(instance, "cat", "/proc/1/status")
        assert instance.state("box")["note"].startswith("its first process does not get LD_PRELOAD, SYSTEMD_SECCOMP")

    def test_read_only_with_binds(self, instance: Instance, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("shared\n")
        boot(instance, "--read-only", "-v", f"{tmp_path}:/mnt/a/b:ro", "-v", f"{tmp_path}:/tmp/c")
        assert inside(instance, "systemctl", "is-system-running") in ("running", "degraded")
        assert inside(instance, "cat", "/mnt/a/b/file", "/tmp/c/file") == "shared\nshared"
        for path in ("/etc/x", "/mnt/a/b/x"):
            assert b"Read-only file system" in instance.process("exec", "box", "touch", path).stderr
        inside(instance, "touch", "/tmp/c/x")
        assert (tmp_path / "x").exists()

    def test_privileged_with_the_network_of_the_host(self, instance: Instance) -> None:
        boot(instance, "--privileged", "--network", "host", "--memory", "500M")
        assert inside(instance, "systemctl", "is-system-running") == "running"
        assert inside(instance, "readlink", "/proc/self/ns/net") == os.readlink("/proc/self/ns/net")
        inside(instance, "sh", "-c", "echo inner >/proc/sys/kernel/domainname")
        assert inside(instance, "cat", "/proc/sys/kernel/domainname") == "inner"
        assert _output("systemctl", "show", "-p", "MemoryMax", "--value", instance.unit("box")) == f"{500 << 20}\n"

    def test_without_network_there_is_the_loopback_alone(self, instance: Instance) -> None:
        boot(instance, "--network", "none")
        assert inside(instance, "ls", "/sys/class/net") == "lo"


class TestForeground:
    def test_it_shows_the_console_and_powers_off_at_ctrl_c(self, instance: Instance) -> None:
        argv = instance.argv("run", "--rm", "--name", "box", "--boot", "debian")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            wait_until(lambda: inside(instance, "systemctl", "is-system-running") == "running")
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=60)
        assert (running.returncode, err) == (0, b"")
        assert b"Welcome to Debian" in out
        assert "Stopped target multi-user.target" in out.decode()
        assert instance("ps", "--all", "--quiet") == ""

    def test_it_goes_on_through_a_reboot_and_ends_with_the_inner_code(self, instance: Instance) -> None:
        argv = instance.argv("run", "--name", "box", "--boot", "debian")
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as running:
            wait_until(lambda: inside(instance, "systemctl", "is-system-running") == "running")
            first = instance.state("box")["pid"]
            inside(instance, "systemctl", "reboot")
            wait_until(lambda: instance.state("box").get("pid") not in (None, first))
            wait_until(lambda: inside(instance, "systemctl", "is-system-running") == "running")
            inside(instance, "systemctl", "exit", "5")
            out, _ = running.communicate(timeout=60)
        assert running.returncode == 5
        assert out.count(b"Welcome to Debian") == 2

    def test_a_terminal_is_refused_with_what_to_do_instead(self, instance: Instance) -> None:
        done = instance.process("run", "-it", "--boot", "debian")
        assert b"volt shell NAME" in done.stderr


@pytest.mark.needs_busybox
class TestAnotherInit:
    """busybox's, in an image that has no os-release."""

    @pytest.fixture(autouse=True)
    def _image(self, instance: Instance, busybox_root: Path, tmp_path: Path) -> None:
        root = tmp_path / "init"
        shutil.copytree(busybox_root, root, symlinks=True)
        (root / "sbin").mkdir(exist_ok=True)
        (root / "sbin/init").symlink_to("../bin/busybox")
        (root / "etc/inittab").write_text(_INITTAB)
        instance("image", "import", str(root), "init")
        instance("run", "-d", "--name", "box", "--boot", "-e", "GREETING=hello", "init")
        wait_until(lambda: "up hello" in instance("logs", "box"))

    def test_a_stop_is_what_busybox_takes_for_a_power_off(self, instance: Instance) -> None:
        assert inside(instance, "cat", "/proc/1/comm", "/proc/sys/kernel/hostname") == "init\nbox"
        instance("stop", "box")
        assert instance.state("box")["outcome"]["code"] == 0
        assert "down" in instance("logs", "box").splitlines()

    def test_an_inner_reboot_and_an_inner_poweroff(self, instance: Instance) -> None:
        inside(instance, "reboot")
        wait_until(lambda: instance("logs", "box").count("up hello") == 2)
        inside(instance, "poweroff")
        assert instance("wait", "box") == "0"
        assert instance.state("box")["status"] == "stopped"

    def test_what_does_not_end_in_time_is_killed(self, instance: Instance) -> None:
        instance("stop", "-t", "0.2", "box")
        assert instance.state("box")["outcome"]["signal"] == signal.SIGKILL


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


def _on_terminal(argv: list[str]) -> bytes:
    """Run a command on a terminal and return what it showed."""
    main, other = pty.openpty()
    said = b""
    with subprocess.Popen(argv, stdin=other, stdout=other, stderr=other):
        os.close(other)
        # EIO: nobody has its other end open any more.
        with contextlib.suppress(OSError):
            while chunk := os.read(main, 4096):
                said += chunk
    os.close(main)
    return said
