"""Containers from the command line, on proot and the real store: what is the command line's own, end to end."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import termios
import time

import pytest

from volt_core.models.workload import Kind
from volt_core.paths import VoltPaths

pytestmark = pytest.mark.needs_proot


def names(box, *words):
    return box.ok("ps", "--quiet", *words).split()


def status_of(box, name):
    (item,) = json.loads(box.ok("inspect", name))["items"]
    return item["state"]["status"]


def backend_of(box):
    return json.loads(box.ok("info", "--json"))["backend"]


class TestWhatProotLacks:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("-p", "80"), "Cannot publish ports: backend 'proot' has no 'ports'. ("),
            (("-m", "1G"), "Cannot limit resources: backend 'proot' has no 'limits'. ("),
        ],
    )
    def test_options_are_refused_by_name(self, box, options, message):
        said = box("run", *options, "box", "true")
        assert said.status == 125
        assert message in said.err

    def test_freeze_is_refused_by_name(self, box):
        box.ok("run", "-d", "--name", "web", "box", "sleep", "1000")
        said = box("freeze", "web")
        assert said.status == 5
        assert "Cannot freeze: backend 'proot' has no 'freeze'. (" in said.err


class TestRun:
    def test_three_byte_exact_streams(self, box):
        data = os.urandom(300_000)
        done = box.process("run", "--rm", "-i", "box", "sh", "-c", "cat; printf 'no newline' >&2; exit 3", stdin=data)
        assert (done.returncode, done.stdout, done.stderr) == (3, data, b"no newline")

    def test_without_i_there_is_no_input(self, box):
        done = box.process("run", "--rm", "box", "cat", stdin=b"not for you")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def test_the_default_command_is_the_images(self, box):
        assert box.process("run", "--rm", "-i", "box", stdin=b"echo $0 from stdin").stdout == b"/bin/sh from stdin\n"

    @pytest.mark.parametrize(
        ("command", "status"),
        [
            (("true",), 0),
            (("sh", "-c", "exit 2"), 2),
            (("sh", "-c", "exit 255"), 255),
            (("sh", "-c", "kill -TERM $$"), 143),
            (("sh", "-c", "kill -KILL $$"), 137),
            (("no-such-command",), 127),
            (("/etc/motd",), 126),
            (("/etc",), 126),
        ],
        ids=str,
    )
    def test_it_ends_as_its_command(self, box, command, status):
        said = box("run", "--rm", "box", *command)
        assert said.status == status
        assert said.out == ""
        if status in (126, 127):
            assert said.err.startswith(f"Error: Cannot run '{command[0]}': ")
            assert said.err.count("\n") == 1
        assert names(box, "--all") == []

    def test_a_working_directory_that_is_missing(self, box):
        assert box("run", "--rm", "-w", "/nosuch", "box", "true") == (
            126,
            "",
            "Error: Cannot run 'true': working directory '/nosuch': No such file or directory.\n",
        )

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("run", "nothing", "true"), "No image is named 'nothing'"),
            (("run", "--backend", "nothing", "box", "true"), "Unknown backend 'nothing'"),
            (("run", "--name", "Web", "box", "true"), "Invalid name 'Web'"),
            (("run", "-v", "relative:/x", "box", "true"), "Mount 'relative:/x' needs absolute paths"),
            (("run", "-e", "=x", "box", "true"), "Invalid environment variable ''"),
            (("run", "-w", "here", "box", "true"), "Working directory 'here' is not absolute"),
            (("run", "-u", "nobody-here", "box", "true"), "nobody-here"),
            (("run", "--stop-signal", "X", "box", "true"), "Unknown signal 'X'"),
            (("run", "--env-file", "/nowhere", "box", "true"), "Cannot read environment file '/nowhere'"),
            (("run", "-it", "box", "sh"), "Standard input is not a terminal"),
            (("exec", "nothing", "true"), "No workload is named 'nothing'"),
            (("shell", "nothing"), "No workload is named 'nothing'"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_volts_own_failures_end_with_125(self, box, words, message):
        done = box.process(*words)
        assert (done.returncode, done.stdout) == (125, b"")
        assert done.stderr.startswith(b"Error: ")
        assert message.encode() in done.stderr
        assert b"Traceback" not in done.stderr

    @pytest.mark.parametrize("wanted", ["-it", "-dit"])
    def test_without_a_terminal_nothing_is_created(self, box, wanted):
        done = box.process("run", wanted, "--name", "web", "box", "true")
        assert done.returncode == (125 if wanted == "-it" else 0)
        assert box.ok("ps", "-aq") == ("" if wanted == "-it" else "web\n")

    def test_what_a_command_that_is_not_kept_says_when_it_is_run_detached(self, box):
        said = box("run", "-d", "--rm", "box", "no-such-command")
        assert (said.status, said.out) == (127, "")
        assert said.err.startswith("Error: Cannot run 'no-such-command': ")
        assert names(box, "--all") == []

    def test_rm_removes_and_without_it_stays(self, box):
        box.ok("run", "--rm", "--name", "gone", "box", "true")
        box.ok("run", "--name", "stays", "box", "true")
        assert names(box, "--all") == ["stays"]
        assert names(box) == []

    def test_rm_removes_after_a_failure_too(self, box):
        assert box("run", "--rm", "box", "false").status == 1
        assert names(box, "--all") == []

    def test_detached(self, box):
        assert box.ok("run", "-d", "--name", "web", "box", "sleep", "1000") == "web\n"
        assert names(box) == ["web"]
        assert status_of(box, "web") == "running"

    def test_a_name_is_made_up(self, box):
        (name,) = box.ok("run", "-d", "box", "sleep", "1000").split()
        assert name.startswith("volt-")
        assert names(box) == [name]

    def test_environment(self, box, tmp_path, monkeypatch):
        monkeypatch.setenv("FROM_HERE", "here")
        monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
        file = tmp_path / "env"
        file.write_text("# comment\n\nA=file\nB=file with spaces\nFROM_HERE\r\n")
        out = box.process(
            "run", "--rm", "--env-file", str(file), "-e", "A=option", "-e", "C=", "-e", "NOT_SET", "box", "env"
        ).stdout  # fmt: skip
        env = dict(line.split("=", 1) for line in out.decode().splitlines())
        assert {"A": "option", "B": "file with spaces", "C": "", "FROM_HERE": "here"}.items() <= env.items()
        assert not {"SECRET_OF_THE_HOST", "NOT_SET", "VOLT_ROOT"} & env.keys()

    def test_user_working_directory_and_mounts(self, box, tmp_path):
        (tmp_path / "file").write_text("of the host")
        tmp_path.chmod(0o755)  # www is no root, where that counts
        done = box.process(
            "run", "--rm", "-u", "www", "-w", "/srv/data", "-v", f"{tmp_path}:/srv/data:ro", "box",
            "sh", "-c", "id -un; pwd; cat file",
        )  # fmt: skip
        assert done.stdout == b"www\n/srv/data\nof the host"

    def test_a_mount_may_be_relative_as_in_a_shell(self, box, tmp_path, monkeypatch):
        (tmp_path / "data").mkdir()
        (tmp_path / "data/file").write_text("x")
        monkeypatch.chdir(tmp_path)
        assert box.process("run", "--rm", "-v", "./data:/data", "box", "cat", "/data/file").stdout == b"x"

    def test_options_behind_the_image_are_the_commands(self, box):
        assert box.process("run", "--rm", "box", "echo", "--rm", "-d", "--help").stdout == b"--rm -d --help\n"

    def test_a_signal_is_passed_on(self, box):
        script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
        process = box.start("run", "--rm", "box", "sh", "-c", script, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == b"got it\n"
        assert process.returncode == 9

    def test_a_reader_that_goes_away(self, box):
        process = box.start("run", "--rm", "box", "yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(1000)
        process.stdout.close()
        assert (process.wait(30), process.stderr.read()) == (128 + signal.SIGPIPE, b"")
        process.stderr.close()

    def test_a_terminal_of_its_own(self, box):
        """Window size, Ctrl-C, and a terminal that is as it was afterwards."""
        primary, secondary = pty.openpty()
        termios.tcsetwinsize(secondary, (33, 77))
        before = termios.tcgetattr(secondary)
        script = "trap 'echo ctrl-c; exit 5' INT; stty size; test -t 0 && test -t 1 && echo both; sleep 1000 & wait"
        process = box.start(
            "run", "--rm", "-it", "box", "sh", "-c", script,
            stdin=secondary, stdout=secondary, stderr=secondary, start_new_session=True,
        )  # fmt: skip
        assert b"33 77\r\n" in read_until(primary, b"both")
        os.write(primary, b"\x03")
        read_until(primary, b"ctrl-c")
        assert process.wait(30) == 5
        assert termios.tcgetattr(secondary) == before
        os.close(primary)
        os.close(secondary)

    def test_what_is_not_utf8(self, box):
        done = box.process("run", "--rm", "box", "echo", os.fsdecode(b"\xff"))
        assert done.returncode == 125
        assert b"is not valid UTF-8" in done.stderr


class TestVerbs:
    def test_a_whole_life(self, box):
        assert box.ok("create", "--name", "web", "box", "sh", "-c", "echo started; exec sleep 1000") == "web\n"
        assert status_of(box, "web") == "created"
        assert box.ok("start", "web") == "web\n"
        assert box.process("exec", "web", "sh", "-c", "echo inside; exit 4").returncode == 4
        assert box.ok("logs", "web") == "started\n"
        assert box.ok("stop", "web") == "web\n"
        assert box.ok("wait", "web") == "143\n"
        assert box.ok("restart", "web") == "web\n"
        assert box.ok("logs", "web", "--tail", "1") == "started\n"
        assert box("delete", "web").status == 4
        assert box.ok("rm", "-f", "web") == "web\n"
        assert names(box, "--all") == []

    def test_several_names_and_one_that_fails(self, box):
        for name in ("a", "b"):
            box.ok("create", "--name", name, "box", "sleep", "1000")
        said = box("start", "a", "none", "b")
        assert (said.status, said.out) == (3, "a\nb\n")
        assert said.err == "Error: No workload is named 'none'. (Run 'volt ps --all' to see all names.)\n"
        said = box("start", "a", "none")
        assert said.status == 4
        assert box("kill", "-s", "KILL", "a", "b") == (0, "a\nb\n", "")
        assert box.ok("wait", "a", "b") == "137\n137\n"

    def test_wait_prints_how_each_ended(self, box):
        for name, code in (("three", 3), ("zero", 0)):
            box.ok("run", "-d", "--name", name, "box", "sh", "-c", f"exit {code}")
        assert box("wait", "three", "zero") == (0, "3\n0\n", "")
        box.ok("run", "-d", "--name", "long", "box", "sleep", "1000")
        said = box("wait", "--timeout", "0.1", "long")
        assert said.status == 5

    def test_stop_kills_after_the_time_given(self, box):
        script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
        box.ok("run", "-d", "--name", "deaf", "box", "sh", "-c", script)
        wait_for(lambda: box.ok("logs", "deaf") == "ready\n")
        begin = time.monotonic()
        box.ok("stop", "-t", "0.2", "deaf")
        assert time.monotonic() - begin < 5
        assert box.ok("wait", "deaf") == "137\n"

    def test_kill_by_name_and_number(self, box):
        for text in ("USR1", "10", "sigusr1"):
            box.ok("run", "-d", "--name", "victim", "box", "sleep", "1000")
            box.ok("kill", "-s", text, "victim")
            assert box.ok("wait", "victim") == "138\n"
            assert box("kill", "victim").status == 4
            box.ok("delete", "victim")
        assert box("kill", "-s", "NOPE", "x").status == 2

    def test_exec(self, box, tmp_path):
        box.ok("run", "-d", "--name", "web", "-e", "A=1", "-w", "/tmp", "box", "sleep", "1000")
        done = box.process("exec", "-i", "-e", "B=2", "-u", "www", "-w", "/etc", "web", "sh", "-c",
                           "cat; echo $A $B; id -un; pwd; exit 6", stdin=b"in\n")  # fmt: skip
        assert (done.returncode, done.stdout) == (6, b"in\n1 2\nwww\n/etc\n")
        assert box("exec", "web", "no-such-command").status == 127
        assert box("exec", "web", "/etc/motd").status == 126
        assert box.process("shell", "web", stdin=b"echo from $0\nexit 8\n").returncode == 8
        box.ok("stop", "-t", "0", "web")
        assert box("exec", "web", "true").status == 125

    def test_logs(self, box):
        box.ok(
            "run",
            "-d",
            "--name",
            "web",
            "box",
            "sh",
            "-c",
            "for i in 1 2 3; do echo out $i; done; echo err >&2; printf rest",
        )
        box.ok("wait", "web")
        said = box("logs", "web")
        assert (said.out, said.err) == ("out 1\nout 2\nout 3\nrest", "err\n")
        assert box.ok("logs", "-n", "0", "web") == ""
        (line,) = box.ok("logs", "--timestamps", "--tail", "1", "web").splitlines() or [""]
        assert line.endswith("Z rest")
        messages = [json.loads(line) for line in box.ok("logs", "--json", "web").splitlines()]
        assert sorted(message["message"] for message in messages) == ["err", "out 1", "out 2", "out 3", "rest"]
        assert {message["stream"] for message in messages} == {"stdout", "stderr"}
        assert box.ok("logs", "--since", "1h", "web").startswith("out 1\n")
        assert box.ok("logs", "--since", str(time.time() + 60), "web") == ""
        for bad in ("soon", "inf", "1y"):
            assert box("logs", "--since", bad, "web").status == 2

    def test_logs_follow_until_the_end(self, box):
        box.ok("run", "-d", "--name", "web", "box", "sh", "-c", "echo one; sleep 0.5; echo two")
        done = box.process("logs", "-f", "web", timeout=20)
        assert (done.returncode, done.stdout) == (0, b"one\ntwo\n")

    def test_the_verbs_of_the_groups_are_the_same(self, box):
        box.ok("container", "create", "--name", "web", "box", "sleep", "1000")
        box.ok("workload", "start", "web")
        assert box.ok("container", "list", "-q") == "web\n"
        box.ok("container", "delete", "--force", "web")


class TestListing:
    @pytest.fixture
    def three(self, box):
        box.ok("run", "-d", "--name", "runs", "-l", "tier=front", "box", "sleep", "1000")
        box.ok("create", "--name", "fresh", "-l", "tier=back", "box", "true")
        box.ok("run", "--name", "ended", "box", "true")
        assert box("run", "--name", "failed", "box", "false").status == 1
        return box

    def test_filters(self, three):
        assert names(three) == ["runs"]
        assert names(three, "--all") == ["ended", "failed", "fresh", "runs"]
        for words, expected in (
            ("status=created", ["fresh"]),
            ("status=stopped status=failed", ["ended", "failed"]),
            ("label=tier=back", ["fresh"]),
            ("label=tier", ["fresh", "runs"]),
            ("label=tier status=running", ["runs"]),
            ("image=box", ["ended", "failed", "fresh", "runs"]),
            ("image=box:latest name=runs", ["runs"]),
            ("kind=vm", []),
            ("backend=qemu", []),
        ):
            options = [option for word in words.split() for option in ("--filter", word)]
            assert names(three, "--all", *options) == expected, words
        said = three("ps", "--filter", "colour=red")
        assert (said.status, said.err.split(". (")[0]) == (2, "Error: Invalid filter 'colour=red'")

    def test_the_table(self, three):
        head, *rows = three.ok("ps", "--all").splitlines()
        assert head.split() == ["NAME", "KIND", "BACKEND", "IMAGE", "STATUS", "SINCE"]
        cells = {row.split()[0]: row for row in rows}
        assert "stopped (exited with 0)" in cells["ended"]
        assert "failed (exited with 1)" in cells["failed"]
        assert cells["runs"].split()[1:5] == ["container", backend_of(three), "box:latest", "running"]

    def test_json(self, three):
        items = {item["name"]: item for item in json.loads(three.ok("ps", "--all", "--json"))["items"]}
        assert items["failed"]["exit_status"] == 1
        assert items["runs"]["pid"] > 0
        assert items["runs"]["labels"] == {"tier": "front"}
        assert items["fresh"]["started"] == 0

    def test_inspect(self, three):
        document = json.loads(three.ok("ps", "inspect", "runs", "ended"))
        assert document["schema"] == "volt.workload-details.v1"
        runs, ended = document["items"]
        assert (runs["name"], runs["spec"]["command"]) == ("runs", ["sleep", "1000"])
        assert ended["state"]["outcome"]["exit_status"] == 0
        assert three("inspect", "none").status == 3

    def test_env_values_are_shown_by_inspect_and_by_nothing_else(self, box):
        box.ok("create", "--name", "web", "-e", "TOKEN=s3cr3t", "box", "true")
        assert "s3cr3t" in box.ok("inspect", "web")
        assert "s3cr3t" not in box.ok("ps", "--all", "--json")
        folder = VoltPaths.below(box.root).workload(Kind.CONTAINER, "web")
        held = [path for path in folder.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
        assert [path.name for path in held] == ["env"]
        assert held[0].stat().st_mode & 0o777 == 0o600


class TestImages:
    def test_export_import_and_deletion(self, box, tmp_path):
        tar = tmp_path / "out.tar"
        box.ok("image", "export", "box", str(tar))
        said = box("image", "export", "box", str(tar))
        assert (said.status, said.err.split(": it")[0]) == (4, f"Error: Cannot export to '{tar}'")
        assert box.ok("image", "import", "-q", str(tar), "again:1") == "again:1\n"
        images = {item["name"]: item["digest"] for item in json.loads(box.ok("image", "list", "--json"))["items"]}
        assert images["again:1"] == images["box:latest"]
        assert box.process("image", "export", "again:1").stdout == tar.read_bytes()
        assert box("image", "delete", "again:1", "none", "again:1") == (
            3,
            "again:1\n",
            "Error: No image is named 'none'. (There are: box:latest.)\n"
            "Error: No image is named 'again:1'. (There are: box:latest.)\n",
        )

    def test_an_export_that_fails_leaves_no_file(self, box, tmp_path):
        assert box("image", "export", "none", str(tmp_path / "a.tar")).status == 3
        assert box("image", "export", "box", str(tmp_path / "none" / "a.tar")).status == 3
        assert list(tmp_path.iterdir()) == []

    def test_import_from_a_pipe(self, box, tmp_path):
        box.ok("image", "export", "box", str(tmp_path / "a.tar"))
        data = (tmp_path / "a.tar").read_bytes()
        done = box.process("image", "import", "-q", "-", "piped", stdin=data)
        assert (done.returncode, done.stdout) == (0, b"piped:latest\n")
        box.ok("image", "delete", "piped")
        done = box.process("image", "import", "-", "piped", stdin=data[: len(data) // 2])
        assert done.returncode == 6
        assert b"Error: " in done.stderr
        assert box("image", "inspect", "piped").status == 3

    def test_an_image_in_use(self, box):
        box.ok("create", "--name", "web", "box", "true")
        said = box("image", "delete", "box")
        assert said.status == 4
        assert "Cannot delete image 'box:latest': used by container/web" in said.err


def read_until(descriptor, text):
    """Return what comes up to `text`; whoever should write it may have died."""
    shown = b""
    while text not in shown:
        assert select.select([descriptor], [], [], 20)[0], shown
        shown += os.read(descriptor, 1000)
    return shown


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestSeveralNames:
    """One that fails does not keep the others."""

    def test_inspect(self, box):
        box.ok("create", "--name", "web", "box", "true")
        said = box("inspect", "web", "nosuch")
        assert [item["name"] for item in json.loads(said.out)["items"]] == ["web"]
        assert (said.status, said.err.split(".")[0]) == (3, "Error: No workload is named 'nosuch'")
        assert box("inspect", "nosuch").out == ""

    def test_logs(self, box):
        for name in ("one", "two"):
            box.ok("run", "-d", "--name", name, "box", "sh", "-c", f"echo out of {name}; echo err of {name} >&2")
            box.ok("wait", name)
        said = box("logs", "one", "nosuch", "two")
        assert said.out == "one: out of one\ntwo: out of two\n"
        assert "one: err of one\nError: No workload is named 'nosuch'. " in said.err
        assert said.err.endswith("two: err of two\n")
        assert said.status == 3
        lines = [json.loads(line) for line in box.ok("logs", "--json", "one", "two").splitlines()]
        assert {(line["name"], line["message"]) for line in lines} >= {("one", "out of one"), ("two", "err of two")}
        assert box.ok("logs", "one") == "out of one\n"
        assert "name" not in json.loads(box.ok("logs", "--json", "--tail", "1", "one"))
        said = box("logs", "-f", "one", "two")
        assert (said.status, said.err) == (
            2,
            "Error: Only one workload can be followed. (Leave out --follow, or name one.)\n",
        )
