"""The static helper programs as they were installed: init, the first process of a payload, and guard."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from volt_core import native, processes
from volt_core.testing import host, roots, users

pytestmark = pytest.mark.needs_native
TIMEOUT = 20.0
ASKING = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT", "SIGALRM", "SIGRTMIN")
FAULTS = ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGPIPE")
FORWARDED = (*ASKING, *FAULTS)


class Init:
    """A running init, started behind `prefix`; `status` collects what it reports."""

    def __init__(self, argv: Sequence[str], *, options: Sequence[str] = (), prefix: Sequence[str] = (), **popen):
        program = native.program("init")
        assert program is not None
        reader, writer = os.pipe()
        self._reader = os.fdopen(reader, "rb", buffering=0)
        self._pending = b""
        command = [*prefix, str(program), "--status-fd", str(writer), *options, "--", *argv]
        try:
            self.process = subprocess.Popen(
                command, pass_fds=[writer], **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | popen
            )
        finally:
            os.close(writer)

    def line(self) -> str:
        """The next line of the report, empty at its end."""
        while b"\n" not in self._pending:
            assert select.select([self._reader], [], [], TIMEOUT)[0], "init reports nothing"
            chunk = self._reader.read(4096)
            if not chunk:
                return ""
            self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode()

    def pid(self) -> int:
        word, pid = self.line().split()
        assert word == "pid"
        return int(pid)

    def wait_ready(self) -> None:
        """Wait for the first output of the command, so that its signal handlers are in place."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def end(self) -> tuple[int, list[str]]:
        """Wait for the end: exit status, and the rest of the report."""
        code = self.process.wait(TIMEOUT)
        return code, list(iter(self.line, ""))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT)
        for stream in (self.process.stdin, self.process.stdout, self._reader):
            if stream is not None:
                stream.close()


@contextlib.contextmanager
def init(argv: Sequence[str], **options) -> Iterator[Init]:
    running = Init(argv, **options)
    try:
        yield running
    finally:
        running.close()


def run_init(argv: Sequence[str], **options) -> tuple[int, list[str]]:
    """Exit status and report of a whole run, the pid masked."""
    with init(argv, **options) as running:
        code, lines = running.end()
    return code, [re.sub(r"^pid \d+$", "pid", line) for line in lines]


def wait_gone(pid: int) -> None:
    """Wait until the process is reaped: a zombie still has its folder in /proc."""
    deadline = time.monotonic() + TIMEOUT
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, Path(f"/proc/{pid}/status").read_text()
        time.sleep(0.01)


def wait_ended(pidfd: int) -> None:
    """Wait until the process ended, reaped or not."""
    assert select.select([pidfd], [], [], TIMEOUT)[0]
    os.close(pidfd)


@pytest.mark.parametrize("code", [0, 1, 125, 126, 127, 128, 143, 255])
def test_exit_code(code):
    assert run_init(["sh", "-c", f"exit {code}"]) == (code, ["pid", f"exit {code}"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGPIPE, signal.SIGUSR1, signal.SIGRTMIN])
def test_signal(number):
    expected = (128 + number, ["pid", f"signal {int(number)} nocore"])
    assert run_init(["sh", "-c", f"kill -{int(number)} $$"]) == expected


def test_pid_is_that_of_the_command():
    with init(["sh", "-c", "echo $$ $PPID"]) as running:
        pid = running.pid()
        assert running.process.stdout.read() == f"{pid} {running.process.pid}\n".encode()
        assert running.end() == (0, ["exit 0"])


def test_not_found():
    assert run_init(["no-such-command"]) == (127, ["fail 127 2 no-such-command: No such file or directory"])


def test_found_but_not_executable(tmp_path):
    file = tmp_path / "file"
    file.touch(0o644)
    assert run_init([str(file)]) == (126, [f"fail 126 13 {file}: Permission denied"])


def test_bad_format(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"\x7fELF is all that it has of a program")
    file.chmod(0o755)
    assert run_init([str(file)]) == (126, [f"fail 126 8 {file}: Exec format error"])


def test_path_is_that_of_the_environment(tmp_path):
    script = tmp_path / "only-here"
    script.write_text("#!/bin/sh\nexit 5\n")
    script.chmod(0o755)
    assert run_init(["only-here"], env={"PATH": f"/nonexistent:{tmp_path}"})[0] == 5
    assert run_init(["only-here"], env={"PATH": ""}, cwd=tmp_path)[0] == 5
    assert run_init(["only-here"], env={})[0] == 127
    assert run_init(["true"], env={})[0] == 0


def test_arguments_and_environment_arrive_unchanged():
    argv = ["sh", "-c", 'printf "%s|" "$@" "$VAR"', "sh", "", "a b", "--", "--status-fd", "\udcff\n"]
    with init(argv, env={"VAR": "x\ny", "PATH": os.environ["PATH"]}) as running:
        assert running.process.stdout.read() == b"|a b|--|--status-fd|\xff\n|x\ny|"
        assert running.end()[0] == 0


def test_command_inherits_its_own_descriptors_only():
    with init(["sh", "-c", "ls /proc/$$/fd; true"]) as running:
        assert running.process.stdout.read().split() == [b"0", b"1", b"2"]
        assert running.end()[0] == 0


def test_signals_are_reset_for_the_command():
    """What the caller ignores or blocks must not reach the command: an ignored SIGPIPE makes `yes | head` endless."""

    def spoil() -> None:
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2, signal.SIGCHLD})

    with init(["cat", "/proc/self/status"], preexec_fn=spoil, restore_signals=False) as running:
        fields = dict(line.split(b":\t", 1) for line in running.process.stdout.read().splitlines())
        assert [fields[name] for name in (b"SigBlk", b"SigIgn", b"SigCgt")] == [b"0" * 16] * 3
        assert running.end()[0] == 0


def test_sigpipe_ends_a_writer():
    with init(["sh", "-c", "yes | head -n 1; echo done"]) as running:
        assert running.process.stdout.read() == b"y\ndone\n"
        assert running.end()[0] == 0


@pytest.mark.parametrize("name", FORWARDED)
def test_signal_is_forwarded(name):
    number = int(getattr(signal, name))
    script = f"trap 'exit 42' {number}; echo ready; while :; do sleep 0.01; done"
    with init(["sh", "-c", script]) as running:
        running.wait_ready()
        running.process.send_signal(number)
        assert running.end()[0] == 42


def test_forwarded_signal_that_the_command_does_not_handle():
    with init(["sleep", "60"]) as running:
        running.pid()
        running.process.terminate()
        assert running.end() == (143, ["signal 15 nocore"])


def test_orphans_are_adopted_and_reaped():
    script = 'sh -c "sleep 0.5 & echo \\$!"; echo ready; read line'
    with init(["sh", "-c", script], stdin=subprocess.PIPE) as running:
        orphan = int(running.process.stdout.readline())
        running.wait_ready()  # its parent is gone
        status = Path(f"/proc/{orphan}/status").read_text()
        assert f"\nPPid:\t{running.process.pid}\n" in status
        wait_gone(orphan)
        assert running.process.poll() is None
        running.process.stdin.close()
        assert running.end()[0] == 1


def test_init_does_not_wait_for_what_the_command_leaves_behind():
    with init(["sh", "-c", "sleep 60 >/dev/null & echo $!; exit 3"]) as running:
        left = int(running.process.stdout.readline())
        assert running.end()[0] == 3
        os.kill(left, signal.SIGKILL)


def test_many_orphans():
    script = 'i=0; while [ $i -lt 50 ]; do sh -c "for n in 1 2 3 4 5 6 7 8 9 10; do true & done"; i=$((i + 1)); done'
    with init(["sh", "-c", f"{script}; echo ready; read line"], stdin=subprocess.PIPE) as running:
        running.wait_ready()
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        deadline = time.monotonic() + TIMEOUT
        while len(children.read_text().split()) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.process.stdin.close()
        assert running.end()[0] == 1


def start_below_a_supervisor(*options: str) -> tuple[int, int]:
    """Start init and its command below a process, kill that process, and give pidfds of the two."""
    program = str(native.program("init"))
    supervisor = (
        "import os, subprocess, sys\n"
        "r, w = os.pipe()\n"
        f"argv = [{program!r}, '--status-fd', str(w), *{list(options)!r}, '--', 'sleep', '60']\n"
        "p = subprocess.Popen(argv, pass_fds=[w])\n"
        "print(p.pid, os.read(r, 100).split()[1].decode(), flush=True)\n"
        "p.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", supervisor], stdout=subprocess.PIPE) as process:
        pids = process.stdout.readline().split()
        pidfds = tuple(os.pidfd_open(int(pid)) for pid in pids)
        process.kill()
    return pidfds


def test_pdeathsig_ends_all_with_the_supervisor():
    for pidfd in start_below_a_supervisor("--pdeathsig"):
        wait_ended(pidfd)


def test_without_pdeathsig_the_payload_lives_on():
    init_fd, command_fd = start_below_a_supervisor()
    assert select.select([init_fd, command_fd], [], [], 0.3)[0] == []
    # The command lives on alone when init is killed, too.
    for pidfd in (init_fd, command_fd):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_ended(pidfd)


def test_pdeathsig_ends_the_command_with_init():
    with init(["sleep", "60"], options=["--pdeathsig"]) as running:
        pidfd = os.pidfd_open(running.pid())
        running.process.kill()
        wait_ended(pidfd)


@pytest.mark.parametrize(("options", "code"), [(["--pdeathsig"], 125), ([], 7)])
def test_supervisor_that_died_first(options, code, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    mark = tmp_path / "ran"
    argv = [native.program("init"), "--status-fd", str(writer), *options, "--", "sh", "-c", f"touch {mark}; exit 7"]
    assert subprocess.run(argv, pass_fds=[writer], timeout=TIMEOUT).returncode == code
    os.close(writer)
    assert mark.exists() == (code == 7)


def test_variables_are_set_and_removed_for_the_command():
    options = ["--env", "A=b=c", "--env", "GONE", "--env", "EMPTY="]
    with init(["env"], options=options, env={"GONE": "1", "KEPT": "2"}) as running:
        assert set(running.process.stdout.read().splitlines()) == {b"A=b=c", b"EMPTY=", b"KEPT=2"}
        assert running.end()[0] == 0


def test_workdir(tmp_path):
    with init(["pwd"], options=["--workdir", str(tmp_path)]) as running:
        assert running.process.stdout.read() == f"{tmp_path}\n".encode()
        assert running.end()[0] == 0
    assert run_init(["pwd"], options=["--workdir", "/no/such"]) == (
        126,
        ["fail 126 2 working directory '/no/such': No such file or directory"],
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--", "true"],
        ["--status-fd"],
        ["--status-fd", "1", "--", "true"],
        ["--status-fd", "x", "--", "true"],
        ["--status-fd", "99", "--", "true"],
        ["--status-fd", "4711", "--"],
        ["--workdir", "--", "true"],
        ["true"],
    ],
)
def test_usage(arguments):
    result = subprocess.run([native.program("init"), *arguments], capture_output=True, timeout=TIMEOUT)
    assert result.returncode == 125
    assert b"usage: init --status-fd N" in result.stderr


class Terminal:
    """The master side of a pty."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.text = b""

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def expect(self, pattern: bytes) -> None:
        """Read until `pattern` matches what came since the last match."""
        deadline = time.monotonic() + TIMEOUT
        while not (match := re.search(pattern, self.text)):
            left = deadline - time.monotonic()
            assert left > 0, self.text
            if select.select([self.master], [], [], left)[0]:
                self.text += os.read(self.master, 4096)
        self.text = self.text[match.end() :]


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    os.close(terminal.master)
    os.close(terminal.slave)


@pytest.mark.parametrize(
    "prefix", [[], pytest.param(["proot", "-r", "/"], marks=pytest.mark.needs_proot)], ids=["plain", "proot"]
)
def test_job_control(terminal, prefix):
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
    shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
    environment = {"PATH": os.environ["PATH"], "PS1": "prompt> "}
    options = {"options": ["--setsid-tty"], "env": environment, "start_new_session": True}
    with init(shell, prefix=prefix, **streams, **options) as running:
        terminal.expect(rb"prompt> ")
        terminal.type(b"echo begun; sleep 60\n")
        terminal.expect(rb"begun\r\n")
        time.sleep(0.2)  # until the shell has made sleep its foreground job
        terminal.type(b"\x03")
        terminal.expect(rb"prompt> ")
        terminal.type(b"echo code=$?\n")
        terminal.expect(rb"code=130\r\n")
        terminal.type(b"echo begun; sleep 61\n")
        terminal.expect(rb"begun\r\n")
        time.sleep(0.2)
        terminal.type(b"\x1a")
        terminal.expect(rb"Stopped +sleep 61")
        terminal.expect(rb"prompt> ")
        terminal.type(b"fg\n")
        terminal.expect(rb"sleep 61\r\n")
        time.sleep(0.2)
        terminal.type(b"\x03")
        terminal.expect(rb"prompt> ")
        terminal.type(b"exit 9\n")
        terminal.expect(rb"\nexit\r\n")  # what is not read keeps bash from ending
        code, lines = running.end()
    assert (code, lines[-1]) == (9, "exit 9")


def test_ctrl_c_arrives_once_without_a_session_of_its_own(terminal):
    """The terminal signals the whole foreground group: init must not pass the same signal on a second time."""
    command = (
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
        "print('ready', flush=True)\n"
        "count = 0\n"
        "while signal.sigtimedwait({signal.SIGINT}, 0.5 if count else 20):\n"
        "    count += 1\n"
        "raise SystemExit(count)\n"
    )

    def own_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
    with init([sys.executable, "-c", command], preexec_fn=own_the_terminal, **streams) as running:
        terminal.expect(rb"ready")
        terminal.type(b"\x03")
        assert running.end()[0] == 1
    with init([sys.executable, "-c", command], preexec_fn=own_the_terminal, **streams) as running:
        terminal.expect(rb"ready")
        running.process.send_signal(signal.SIGINT)
        assert running.end()[0] == 1


@pytest.mark.needs_proot
@pytest.mark.parametrize(
    ("argv", "code", "lines"),
    [
        (["sh", "-c", "exit 7"], 7, ["pid", "exit 7"]),
        (["sh", "-c", "kill -15 $$"], 143, ["pid", "signal 15 nocore"]),
        (["sh", "-c", "kill -11 $$"], 139, ["pid", "signal 11 nocore"]),
        (["sh", "-c", "kill -9 $$"], 137, ["pid", "signal 9 nocore"]),
        (["no-such-command"], 127, ["fail 127 2 no-such-command: No such file or directory"]),
        (["/etc/motd"], 126, ["fail 126 13 /etc/motd: Permission denied"]),
        (["sh", "-c", "yes | head -n 1"], 0, ["pid", "exit 0"]),
    ],
)
@pytest.mark.parametrize("user", [False, True], ids=["self", "ordinary"])
def test_under_proot(user_directory, argv, code, lines, user):
    """proot 5.1 knows nothing of the signal that ended its payload; init's report does."""
    host.require("busybox")
    root = roots.make_busybox_root(user_directory / "root")
    prefix = ["proot", "-r", str(root), "-b", str(native.program("init"))]
    if user:
        host.require("ordinary_user")
        prefix = users.as_user_argv(*prefix)
    assert run_init(argv, prefix=prefix, cwd="/", env={"PATH": os.environ["PATH"] + ":/bin"}) == (code, lines)


@pytest.mark.needs_proot
def test_signals_and_orphans_under_proot(busybox_root):
    prefix = ["proot", "-r", str(busybox_root), "-b", "/proc", "-b", str(native.program("init"))]
    script = 'trap "exit 42" TERM; sh -c "sleep 0.2 & echo \\$!"; echo ready; while :; do sleep 0.05; done'
    with init(["sh", "-c", script], prefix=prefix, cwd="/", env={"PATH": os.environ["PATH"] + ":/bin"}) as running:
        command = running.pid()
        orphan = int(running.process.stdout.readline())
        running.wait_ready()
        wait_gone(orphan)
        parent = re.search(r"^PPid:\t(\d+)$", Path(f"/proc/{command}/status").read_text(), re.MULTILINE)
        os.kill(int(parent[1]), signal.SIGTERM)
        assert running.end() == (42, ["exit 42"])


def guard(*argv: str, supervisor: int | None = None) -> list[str]:
    program = native.program("guard")
    assert program is not None
    return [str(program), str(supervisor or os.getpid()), *argv]


@pytest.mark.parametrize("script", ["exit 0", "exit 7", "exit 143", "kill -9 $$", "kill -15 $$", "kill -11 $$"])
def test_guard_ends_as_its_command_does(script):
    command = ["/bin/sh", "-c", script]
    expected = subprocess.run(command, timeout=TIMEOUT).returncode
    assert subprocess.run(guard(*command), timeout=TIMEOUT).returncode == expected


def test_guard_leaves_streams_signals_and_arguments_to_its_command():
    script = 'printf "%s|" "$@"; exec >&- 2>&-; read line; exit $line'
    command = guard("/bin/sh", "-c", script, "sh", "a b", "")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b"a b||"  # to its end, which the guard does not hold up
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)  # not from the death of the supervisor
        process.stdin.write(b"9\n")
        process.stdin.close()
        assert process.wait(TIMEOUT) == 9
    shown = subprocess.run(guard("/bin/cat", "/proc/self/status"), stdout=subprocess.PIPE, timeout=TIMEOUT).stdout
    assert b"SigBlk:\t0000000000000000\n" in shown


def test_guard_without_its_supervisor_runs_nothing_for_long():
    assert subprocess.run(guard("/bin/sleep", "60", supervisor=1), timeout=TIMEOUT).returncode == 125


@pytest.mark.parametrize("argv", [[], ["1"], ["x", "/bin/true"], ["-1", "/bin/true"]])
def test_guard_usage(argv):
    result = subprocess.run([native.program("guard"), *argv], capture_output=True, timeout=TIMEOUT)
    assert result.returncode == 125
    assert b"usage: guard SUPERVISOR-PID" in result.stderr


def test_guard_ends_everything_with_the_supervisor():
    script = (
        "trap '' TERM HUP INT\n"
        "for how in '' 'setsid' 'env -i setsid' 'setsid setsid'; do (PATH=$PATH $how sleep 60 &); done\n"
        "sleep 60 & kill -STOP $!; echo ready; wait"
    )
    supervisor = (
        "import os, subprocess, sys\n"
        f"argv = [{str(native.program('guard'))!r}, str(os.getpid()), '/bin/sh', '-c', sys.argv[1]]\n"
        "p = subprocess.Popen(argv)\n"
        "p.wait()\n"
    )
    command = [sys.executable, "-c", supervisor, script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + TIMEOUT
            # The guard, the shell, what it has stopped, and what sleeps; what has made these is gone.
            while len(found := processes.descendants(process.pid)) != 7 or len(asleep(found)) != 4:
                assert time.monotonic() < deadline, found
                time.sleep(0.01)
            pidfds = [os.pidfd_open(stat.pid) for stat in found]
        finally:
            process.kill()
        for pidfd in pidfds:
            wait_ended(pidfd)


def asleep(found):
    """Which of the processes have become ``sleep`` and were not stopped."""
    names = {stat.pid: "" for stat in found if stat.state != "T"}
    for pid in names:
        with contextlib.suppress(OSError):
            names[pid] = Path(f"/proc/{pid}/comm").read_text()
    return [pid for pid, name in names.items() if name == "sleep\n"]


def test_guard_is_not_found_by_its_environment():
    with subprocess.Popen(guard("/bin/cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"A": "b"}) as process:
        process.stdin.write(b"x")
        process.stdin.flush()
        assert process.stdout.read(1) == b"x"
        assert Path(f"/proc/{process.pid}/environ").read_bytes().strip(b"\0") == b""
