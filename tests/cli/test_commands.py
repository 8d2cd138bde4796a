"""What holds for every command: help, tables, JSON, exit codes, streams, interrupts, start-up, completion."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from volt_core import errors
from volt_core.cli import complete, exits, tables
from volt_core.cli.lazy import load_command
from volt_core.errors import VoltError
from volt_core.paths import VoltPaths
from volt_core.testing import host

ROOT = Path(__file__).parents[2]
COMMANDS = [
    *([name] for name in tables.TOP),
    *([group, name] for group, table in tables.GROUPS.items() for name in table),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(volt, words, option):
    said = volt(*words, option)
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"Usage: volt {' '.join(words)}")
    assert not volt.root.exists()


def test_the_text_in_the_table_is_not_another_than_that_of_the_command():
    """Both are read by people, one in the list, one alone; they may differ in length, not in what they begin with."""
    for name, entry in {**tables.TOP, **tables.IMAGE, **tables.CONFIG, **tables.PLUGIN}.items():
        text = load_command(name, entry).help
        assert text.split()[0].rstrip(":.") == entry.help.split()[0].rstrip(":."), name


def load_docs():
    spec = importlib.util.spec_from_file_location("cli_docs", ROOT / "tools/cli_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_docs_are_those_of_the_commands():
    docs = load_docs()
    assert docs.TARGET.read_text() == docs.render(), "run: python tools/cli_docs.py"


def test_the_docs_have_the_commands_of_this_repositorys_plugins():
    assert "### volt cas build\n" in (ROOT / "docs/cli.md").read_text()


def all_errors(base=VoltError):
    for member in base.__subclasses__():
        yield member
        yield from all_errors(member)


def test_every_error_of_the_core_is_in_the_table_of_exit_codes():
    text = (ROOT / "docs/cli.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for member in all_errors():
        if member.__module__ == errors.__name__:
            (row,) = [row for row in rows if f"`{member.__name__}`" in row]
            assert row.startswith(f"| {member.exit_code} |")


@pytest.mark.parametrize(
    "member", sorted({member for member in all_errors() if member.__module__ == errors.__name__}, key=str)
)
def test_each_error_ends_with_its_code_and_next_step(volt, monkeypatch, member):
    from volt_core.cli import listing

    error = member.__new__(member)
    VoltError.__init__(error, "Cannot do it", details="line one\nline two", hint="Do that.")

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(listing, "_list", fail)
    said = volt("ps")
    assert said == (member.exit_code, "", "Error: Cannot do it. (Do that.)\n  line one\n  line two\n")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/etc/shadow"), "Permission denied: '/etc/shadow'. (Run as"),
        (OSError(28, "No space left on device"), "No space left on device. (Free some space"),
        (OSError(5, "Input/output error", "/x"), "Input/output error: '/x'. (VOLT_DEBUG=1"),
    ],
)
def test_what_the_system_refuses_is_one_line(volt, monkeypatch, error, words):
    from volt_core.cli import listing

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(listing, "_list", fail)
    said = volt("ps")
    assert said.status == exits.FAILURE
    assert said.err.startswith(f"Error: {words}")
    assert said.err.count("\n") == 1
    monkeypatch.setenv("VOLT_DEBUG", "1")
    with pytest.raises(type(error)):
        volt("ps")


def test_a_bug_keeps_its_traceback(volt, monkeypatch):
    from volt_core.cli import listing

    monkeypatch.setattr(listing, "_list", lambda *arguments, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        volt("ps")


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["bogus"], "volt"),
        (["--bogus"], "volt"),
        (["--root"], "volt"),
        (["ps", "--bogus"], "volt ps"),
        (["start"], "volt start"),
        (["stop", "-t", "soon", "x"], "volt stop"),
        (["stop", "-t", "-1", "x"], "volt stop"),
        (["stop", "-t", "inf", "x"], "volt stop"),
        (["restart", "-t", "nan", "x"], "volt restart"),
        (["wait", "--timeout", "1e300", "x"], "volt wait"),
        (["create", "--stop-timeout", "nan", "x"], "volt create"),
        (["create", "--cpus", "inf", "x"], "volt create"),
        (["cas", "gc", "--grace", "nan"], "volt cas gc"),
        (["image", "bogus"], "volt image"),
        (["image", "tag", "one"], "volt image tag"),
        (["config", "get", "store", "more"], "volt config get"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_names_the_help(volt, words, where):
    said = volt(*words)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("Error: ")
    assert said.err.endswith(f"(See '{where} --help'.)\n")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["run"], ["run", "--bogus", "x"], ["run", "--cpus", "-1", "x"], ["exec", "x"]], ids=" ".join
)
def test_wrong_usage_of_what_ends_as_its_command_ends_with_125(volt, words):
    said = volt(*words)
    assert said.status == 125
    assert said.err.endswith(f"(See 'volt {words[0]} --help'.)\n")


@pytest.mark.parametrize("words", [[], ["container"], ["image"], ["cas"]], ids=lambda words: " ".join(["volt", *words]))
def test_without_a_command_the_help_is_shown_and_it_is_wrong(volt, words):
    said = volt(*words)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("Usage: volt")
    assert "Error" not in said.err


LISTINGS = {
    "ps": "workloads",
    "ps --all": "workloads",
    "container list": "workloads",
    "workload list": "workloads",
    "image list": "images",
    "plugin list": "plugins",
    "plugin inspect core": "plugin",
    "config list": "settings",
    "doctor": "checks",
    "info": "info",
}


@pytest.mark.parametrize(("words", "schema"), LISTINGS.items(), ids=LISTINGS)
def test_json_is_one_document_that_names_its_schema(volt, words, schema):
    said = volt(*words.split(), "--json")
    assert json.loads(said.out)["schema"] == f"volt.{schema}.v1"
    assert said.err == ""
    assert volt(*words.split()).out != said.out


class TestTheSystemsWorkloads:
    """A user's `volt ps` shows what is the user's, and says that there may be more."""

    NOTE = "Note: these are your own; those of the system are shown by 'sudo volt ps'.\n"

    @pytest.fixture
    def user(self, volt, tmp_path, monkeypatch):
        """A user's instance beside one of the system that has containers; returns the latter's paths."""
        below = VoltPaths.below(volt.root)
        system = VoltPaths(etc=tmp_path / "etc", lib=tmp_path / "var", run=tmp_path / "run", system=True)
        mine = VoltPaths(etc=below.etc, lib=below.lib, run=below.run)
        monkeypatch.setattr(VoltPaths, "for_system", classmethod(lambda cls: system))
        monkeypatch.setattr(VoltPaths, "find", classmethod(lambda cls, root=None, environ=None: root or mine))
        (system.lib / "containers").mkdir(parents=True)
        return system

    @pytest.mark.parametrize("words", [["ps"], ["ps", "-a"], ["container", "list"]], ids=" ".join)
    def test_a_table_is_followed_by_a_note(self, volt, user, words):
        assert volt(*words).err == self.NOTE
        (user.lib / "containers").rmdir()
        assert volt(*words).err == ""

    @pytest.mark.parametrize("option", ["--json", "--quiet"])
    def test_what_programs_read_is_not(self, volt, user, option):
        assert volt("ps", option).err == ""

    def test_neither_root_nor_an_instance_of_its_own_has_others(self, volt, user, monkeypatch):
        for paths in (user, VoltPaths.below(volt.root)):
            monkeypatch.setattr(VoltPaths, "find", classmethod(lambda cls, root=None, environ=None, it=paths: it))
            assert volt("ps").err == ""


def test_there_are_no_colours_and_no_state_in_a_pipe(volt, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    for words in ([], ["--help"], ["ps"], ["bogus"], ["run", "--help"], ["doctor"], ["inspect", "none"]):
        said = volt(*words)
        assert "\x1b" not in said.out + said.err, words


def test_a_reader_that_goes_away_is_no_error_message(volt):
    for words in (["ps"], ["doctor"], ["--help"], ["completion", "bash"], ["ps", "--json"]):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            done = subprocess.run(volt.argv(*words), stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (exits.BROKEN_PIPE, b""), words


@pytest.mark.parametrize("words", [["ps"], ["--version"], ["__complete", ""]], ids=" ".join)
def test_output_that_finds_no_room_is_a_failure(volt, words):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(volt.argv(*words), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == exits.FAILURE
    assert done.stderr.startswith(b"Error: No space left on device. (Free some space")
    assert done.stderr.count(b"\n") == 1


def with_closed(volt, streams, *words):
    argv = ["sh", "-c", f'exec "$@" {streams}', "sh", *volt.argv(*words)]
    return subprocess.run(argv, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("words", [["ps"], ["--version"]], ids=" ".join)
def test_closed_streams_are_borne(volt, words):
    done = with_closed(volt, "<&- >&-", *words)
    assert (done.returncode, done.stderr) == (0, b"")
    assert with_closed(volt, "<&- >&- 2>&-", "bogus").returncode == 2


def test_an_import_without_standard_input(volt, tmp_path):
    (tmp_path / "tree").mkdir()
    assert with_closed(volt, "<&-", "image", "import", "-q", str(tmp_path / "tree")).stdout == b"tree:latest\n"


@pytest.mark.needs_proot
def test_running_with_closed_streams(box):
    done = with_closed(box, ">&-", "run", "--rm", "box", "echo", "hi")
    assert (done.returncode, done.stderr) == (0, b"")
    done = with_closed(box, "<&-", "run", "-i", "--rm", "box", "sh", "-c", "cat; echo hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hi\n", b"")


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGINT, "Interrupted."), (signal.SIGTERM, "Terminated."), (signal.SIGHUP, "Hung up.")],
)
def test_a_signal_during_a_pull_ends_all_of_it(volt, tmp_path, monkeypatch, number, words):
    script = tmp_path / "bin/mmdebstrap"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 1000 &\nwait\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    process = volt.start("image", "pull", "debian:bookworm", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + number, b"")
    assert err.decode().split("\n")[-2] == words
    assert b"Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert volt.ok("image", "list", "--quiet") == ""


def test_what_nohup_ignores_stays_ignored(volt):
    code = "import signal; from volt_core.cli.exits import raise_when_terminated as r; r(); signal.raise_signal(1)"
    script = "trap '' HUP; exec \"$@\""
    done = subprocess.run(["sh", "-c", script, "sh", sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def imported(*words):
    """Return the modules that a process imports for these words."""
    argv = [sys.executable, "-P", "-X", "importtime", "-m", "volt_core", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}


def test_the_application_does_not_need_who_runs_it():
    code = "import sys, volt_core.cli.app; sys.exit('volt_core.cli.exits' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_the_version_costs_nothing(volt):
    assert not imported("--version") & {"typer", "msgspec", "pluggy", "importlib.metadata", "volt_core.cli"}
    for words in (["--version"], ["-V"], ["--root", "/x", "--version"], ["--version", "ps"]):
        assert volt.ok(*words).startswith("volt ")


def test_completion_costs_little(volt):
    for words in (["__complete", ""], ["__complete", "start", ""]):
        assert not imported(*words) & {"typer", "pluggy", "importlib.metadata", "volt_core.plugins", "ruamel.yaml"}


def completed(*words):
    return list(complete.candidates(words))


def test_candidates(volt, monkeypatch):
    volt.root.joinpath("lib").mkdir(parents=True)
    index = {"schema": 1, "workloads": [{"name": "web"}, {"name": "db"}]}
    (volt.root / "lib/workload-state.json").write_text(json.dumps(index))
    assert "run" in completed()
    assert "rm" not in completed()
    assert list(completed("image")) == list(tables.IMAGE)
    assert completed("start") == completed("container", "stop", "-t", "--force") == ["web", "db"]
    assert completed("rm", "web") == ["db"]
    assert completed("ps") == ["inspect"]
    assert completed("ps", "inspect") == ["web", "db"]
    assert completed("completion") == ["bash", "zsh", "fish"]
    assert completed("image", "pull") == completed("nothing") == []
    for words in (["image", "delete"], ["image", "inspect"], ["plugin", "inspect"], ["image", "export", "x"]):
        assert completed(*words) == [], "these are no names of workloads"
    monkeypatch.delenv("VOLT_ROOT")
    for words in (["--root", str(volt.root)], [f"--root={volt.root}"]):
        assert completed(*words, "start") == ["web", "db"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"workloads": 5}', '{"workloads": [{}]}', "\0"])
def test_a_damaged_index_completes_nothing(volt, text):
    volt.root.joinpath("lib").mkdir(parents=True)
    (volt.root / "lib/workload-state.json").write_text(text)
    assert completed("start") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_takes_its_script(volt, tmp_path, shell):
    script = volt.ok("completion", shell)
    if shell != "bash":
        host.require(shell)
    path = tmp_path / "script"
    path.write_text(script)
    assert subprocess.run([shell, "-n", path], capture_output=True, check=False).stderr == b""


def test_bash_completes(volt, tmp_path):
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "volt").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m volt_core "$@"\n')
    (bin_ / "volt").chmod(0o755)
    asked = 'COMP_WORDS=(volt image "ex"); COMP_CWORD=2; _volt; echo "${COMPREPLY[@]}"'
    code = f"PATH={bin_}:$PATH\n{volt.ok('completion', 'bash')}\n{asked}"
    assert subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout == "export\n"


def test_completion_for_another_shell(volt):
    said = volt("completion", "tcsh")
    assert (said.status, said.err) == (2, "Error: No completion for 'tcsh'. (There is one for bash, zsh, fish.)\n")


def test_config_from_the_command_line(volt, monkeypatch):
    volt.ok("config", "set", "stop_timeout", "3")
    file = volt.root / "etc/config.yaml"
    assert volt.ok("config", "get", "stop_timeout", "--origin") == f"3.0\t{file}\n"
    monkeypatch.setenv("VOLT_STOP_TIMEOUT", "4")
    assert volt.ok("config", "get", "stop_timeout", "--origin") == "4.0\tenvironment variable VOLT_STOP_TIMEOUT\n"
    monkeypatch.delenv("VOLT_STOP_TIMEOUT")
    volt.ok("config", "unset", "stop_timeout")
    assert volt.ok("config", "get", "stop_timeout") == "10.0\n"
    said = volt("config", "set", "stop-timeout", "3")
    assert said.status == 2
    assert "Did you mean 'stop_timeout'?" in said.err
    file.write_text("store: [")
    for words in (["ps"], ["info"], ["config", "set", "store", "cas"]):
        assert volt(*words).status == 2
    assert f"MISSING  config: '{file}' is not valid YAML\n" in volt("doctor").out
