"""The journal as a log, by a journalctl that is a script: what it prints, how it is called, how it fails."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from volt_core.errors import BackendError, BackendUnavailable
from volt_core.systemd import journal
from volt_core.systemd.journal import Storage, build_journal_argv, find_storage, read_journal

SECOND = 10**9
Script = Callable[..., Path]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Puts a journalctl in front of the real one: it answers --sync, then does what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(body: str) -> Path:
        program = folder / "journalctl"
        program.write_text(f'#!/bin/sh\n[ "$1" = --sync ] && exit 0\necho "$*" >> {tmp_path}/asked\n{body}\n')
        program.chmod(0o755)
        return tmp_path / "asked"

    return make


def entry(message: object, number: int = 1, **fields: object) -> str:
    common = {"__CURSOR": f"c{number}", "__REALTIME_TIMESTAMP": str(number * 1_000_000), "PRIORITY": "6"}
    return json.dumps({**common, "MESSAGE": message, **fields})


def prints(*entries: str) -> str:
    return "cat <<'END'\n" + "\n".join(entries) + "\nEND"


def test_entries_are_records(script: Script) -> None:
    script(
        prints(
            entry("out", 1, _SYSTEMD_INVOCATION_ID="a" * 32),
            entry("<3>err", 2, PRIORITY="3"),
            entry([255, 0, 10], 3, _LINE_BREAK="line-max"),
            entry(None, 4),
        )
    )
    found = list(read_journal(["A=b"]))
    assert [record.data for record in found] == [b"out", b"<3>err", b"\xff\0\n", b""]
    assert [record.stream for record in found] == ["stdout", "stderr", "stdout", "stdout"]
    assert [record.partial for record in found] == [False, False, True, False]
    assert [record.time for record in found] == [SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND]
    assert [record.invocation for record in found] == ["a" * 32, "", "", ""]


@pytest.mark.parametrize(
    ("fields", "streams"),
    [
        ({"VOLT_STREAM": "console"}, ["console"]),
        ({"VOLT_STREAM": "console", "PRIORITY": "3"}, []),
        ({}, []),
    ],
)
def test_what_nspawn_copies_from_a_console_is_the_payloads(
    script: Script, fields: dict[str, str], streams: list[str]
) -> None:
    script(
        prints(entry("line", _COMM="systemd-nspawn", _SYSTEMD_CGROUP="/machine.slice/x.service/supervisor", **fields))
    )
    assert [record.stream for record in read_journal(["A=b"])] == streams


@pytest.mark.parametrize(
    ("command", "cgroup", "counts"),
    [
        ("systemd-nspawn", "/machine.slice/x.service/supervisor", False),
        ("rootfs", "/machine.slice/x.service", False),
        ("rootfs", "/machine.slice/x.service/payload", True),
        ("systemd-nspawn", "/machine.slice/x.service/payload/system.slice/y.service", True),
        # A name is cut at 15 bytes, also in the middle of a character.
        (list("ääääääää".encode()[:15]), "/machine.slice/x.service/payload", True),
        ("init", "/machine.slice/x.service/payload", True),
    ],
)
def test_the_payload_may_call_itself_as_it_likes(script: Script, command: object, cgroup: str, counts: bool) -> None:
    script(prints(entry("line", _COMM=command, _SYSTEMD_CGROUP=cgroup)))
    assert len(list(read_journal([]))) == counts


def test_units_of_others_are_left_out(script: Script) -> None:
    script(prints(entry("mine", _SYSTEMD_UNIT="volt-a.service"), entry("other", _SYSTEMD_UNIT="ssh.service")))
    assert [record.data for record in read_journal([], units="volt-*.service")] == [b"mine"]


def test_tail_counts_lines_and_not_their_parts(script: Script) -> None:
    entries = [entry("1", 1), entry("2a", 2, _LINE_BREAK="line-max"), entry("err", 3, PRIORITY="3"), entry("2b", 4)]
    script(prints(*entries))
    tails = {tail: [record.data for record in read_journal([], tail=tail)] for tail in (0, 1, 2, 9)}
    assert tails == {
        0: [],
        1: [b"2a", b"2b"],
        2: [b"err", b"2a", b"2b"],
        9: [b"1", b"err", b"2a", b"2b"],
    }
    script(f'case "$*" in *--after-cursor*) ;; *) {prints(*entries)}\n;; esac')
    assert [record.data for record in read_journal([], tail=1, is_active=lambda: True)] == [b"2a", b"2b"]


def test_limits_are_exact(script: Script) -> None:
    asked = script(prints(entry("at", 1), entry("after", 2)))
    assert [record.data for record in read_journal([], since=SECOND, until=1_795_699_194_316_148_999)] == [b"after"]
    assert "--since=@1.000000 --until=@1795699194.316148 " in asked.read_text()


def test_a_cursor_takes_the_place_of_a_beginning() -> None:
    argv = build_journal_argv(["A=b"], after="c1", since=SECOND)
    assert "--after-cursor=c1" in argv
    assert not any(word.startswith("--since") for word in argv)
    assert argv[-2:] == ["A=b", "_TRANSPORT=stdout"]


def test_what_came_after_the_end_is_read_from_where_following_stopped(script: Script, tmp_path: Path) -> None:
    asked = script(
        f'case "$*" in *--follow*) {prints(entry("one", 1))}\nsleep 60;; '
        f"*--after-cursor=c1*) {prints(entry('last', 2))}\n;; *) {prints(entry('one', 1), entry('last', 2))}\n;; esac"
    )
    active = iter([True, True, False])
    found = [record.data for record in read_journal([], is_active=lambda: next(active))]
    assert found == [b"one", b"last"]
    assert asked.read_text().count("--follow") == 1


@pytest.mark.parametrize("follow", [False, True])
def test_a_journal_that_cannot_be_read_is_said(script: Script, follow: bool) -> None:
    script(f"{prints(entry('one'))}\necho 'No journal files were opened due to insufficient permissions.' >&2; exit 1")
    found = read_journal([], is_active=(lambda: True) if follow else None)
    assert next(found).data == b"one"
    with pytest.raises(BackendError, match="Cannot read the journal") as refused:
        next(found)
    assert "insufficient permissions" in (refused.value.details or "")
    assert "systemd-journal" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("config", "directory", "storage"),
    [
        ("[Journal]\n#Storage=none\n", True, Storage.PERSISTENT),
        ("[Journal]\n#Storage=none\n", False, Storage.VOLATILE),
        ("[Journal]\nStorage=auto\n", False, Storage.VOLATILE),
        ("[Journal]\nStorage=persistent\n# other.conf\n[Journal]\nStorage=volatile\n", True, Storage.VOLATILE),
        ("[Journal]\nStorage=none\n", True, Storage.NONE),
        ("[Journal]\nStorage=persistent\nStorage=nonsense\n", False, Storage.PERSISTENT),
        ("", True, Storage.PERSISTENT),
    ],
)
def test_where_the_journal_is_kept(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, directory: bool, storage: Storage
) -> None:
    analyze = script("").with_name("bin") / "systemd-analyze"
    analyze.write_text(f"#!/bin/sh\ncat <<'END'\n{config}END\n")
    analyze.chmod(0o755)
    monkeypatch.setattr(journal, "PERSISTENT", tmp_path if directory else tmp_path / "none")
    assert find_storage() is storage


def test_no_journal_is_said(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    script("")
    monkeypatch.setattr(journal, "find_storage", lambda: Storage.NONE)
    for is_active in (None, lambda: False):
        with pytest.raises(BackendError, match="journald keeps nothing") as refused:
            list(read_journal([], is_active=is_active))
        assert "Storage=persistent" in (refused.value.hint or "")
    script(prints(entry("one")))
    assert list(read_journal([], tail=0)) == [], "one that keeps some is no reason"


def test_no_journalctl_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("volt_core.run.find_program", lambda _: None)
    with pytest.raises(BackendUnavailable, match="'journalctl' not found") as refused:
        next(read_journal([]))
    assert refused.value.hint == "Install the package systemd."


def test_a_journald_that_does_not_answer_is_read_nevertheless(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    program = script(prints(entry("one"))).with_name("bin") / "journalctl"
    program.write_text(program.read_text().replace("&& exit 0", "&& exec sleep 60"))
    monkeypatch.setattr(journal, "_SYNC_SECONDS", 0.1)
    assert [record.data for record in read_journal([])] == [b"one"]
