"""The journal of a real journald as a log."""

from __future__ import annotations

import shlex
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from volt_core.contracts import LogRecord
from volt_core.systemd.bus import Systemd
from volt_core.systemd.journal import read_journal

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_root]

PATIENCE = 60


class Unit:
    """A service that writes to the journal, as Volt's own do."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.name = f"volt-test-{self.id[:8]}.service"
        self.matches = [f"VOLT_WORKLOAD_ID={self.id}"]

    def start(self, script: str, *properties: str, wait: bool = True) -> None:
        """Run a shell script as the service."""
        fields = ["SyslogLevelPrefix=no", f"LogExtraFields=VOLT_WORKLOAD_ID={self.id}", *properties]
        options = [f"--property={field}" for field in fields]
        argv = ["systemd-run", "--quiet", "--collect", f"--unit={self.name}", *options, *(["--wait"] if wait else [])]
        subprocess.run([*argv, "sh", "-c", script.replace("$", "$$")], check=True, timeout=PATIENCE)

    def is_active(self) -> bool:
        """Tell whether it runs."""
        with Systemd() as systemd:
            return systemd.show(self.name).is_active

    def records(self, **options: object) -> list[LogRecord]:
        """Return its log."""
        return list(read_journal(self.matches, **options))  # type: ignore[arg-type]

    def lines(self, **options: object) -> list[bytes]:
        """Return what is in its log."""
        return [record.data for record in self.records(**options)]


@pytest.fixture
def unit() -> Iterator[Unit]:
    unit = Unit()
    yield unit
    subprocess.run(["systemctl", "stop", unit.name], capture_output=True, check=False, timeout=PATIENCE)


def prints(data: bytes) -> str:
    """Return a script that writes these bytes at once."""
    escaped = "".join(f"\\{byte:03o}" for byte in data)
    return f"printf {shlex.quote(escaped)}"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (b"\xff\xfe bytes\n", [b"\xff\xfe bytes"]),
        (b"<3>x\n<7>y\n", [b"<3>x", b"<7>y"]),
        (b"a\n\n\nb\n", [b"a", b"b"]),
        (b"  in front\n", [b"  in front"]),
        (b"tab\tbell\a esc\x1b[1m\n", [b"tab\tbell\a esc\x1b[1m"]),
        ("größe €\n".encode(), ["größe €".encode()]),
    ],
    ids=range(6),
)
def test_bytes_are_kept_as_they_came(unit: Unit, written: bytes, found: list[bytes]) -> None:
    unit.start(prints(written))
    assert unit.lines() == found
    assert {record.stream for record in unit.records()} == {"stdout"}


def test_what_journald_makes_of_blanks_at_the_end(unit: Unit) -> None:
    """Documented, since it is a loss: journald takes them away."""
    unit.start(prints(b"blank \nreturn\r\n"))
    assert unit.lines() == [b"blank", b"return"]


def test_a_long_line_is_one_line_of_several_records(unit: Unit) -> None:
    # LineMax= is 48K.
    unit.start("x=$(head -c 200000 /dev/zero | tr '\\0' x); echo $x; echo next")
    *parts, following = unit.records()
    assert b"".join(record.data for record in parts) == b"x" * 200_000
    assert len(parts) > 1
    assert [record.partial for record in parts] == [True] * (len(parts) - 1) + [False]
    assert (following.data, following.partial) == (b"next", False)
    assert unit.lines(tail=1) == [b"next"]
    assert len(unit.lines(tail=2)) == len(parts) + 1


def test_a_line_without_an_end_is_partial(unit: Unit) -> None:
    unit.start("printf 'prompt>'")
    (record,) = unit.records()
    assert (record.data, record.partial) == (b"prompt>", True)


def test_each_record_tells_its_run(unit: Unit) -> None:
    for _ in range(2):
        # journald asks for the id when it takes the line, and a unit that has ended has none.
        unit.start("echo $INVOCATION_ID; sleep 0.5")
    records = unit.records()
    assert [record.data.decode() for record in records] == [record.invocation for record in records]
    assert len({record.invocation for record in records}) == 2


def test_since_and_until_part_a_log_without_gap_or_double(unit: Unit) -> None:
    unit.start("for i in 1 2 3 4 5; do echo $i; sleep 0.05; done")
    third = unit.records()[2].time
    assert unit.lines(until=third) == [b"1", b"2", b"3"]
    assert unit.lines(since=third) == [b"4", b"5"]
    assert unit.lines(since=third, until=third) == []


def test_another_namespace_is_read_too(unit: Unit) -> None:
    unit.start("echo here; sleep 0.2", "LogNamespace=volt-test")
    try:
        subprocess.run(["journalctl", "--namespace=volt-test", "--sync"], check=True, timeout=PATIENCE)
        assert unit.lines() == [b"here"]
    finally:
        stop = ["systemctl", "stop", "systemd-journald@volt-test.socket", "systemd-journald@volt-test.service"]
        subprocess.run(stop, capture_output=True, check=False, timeout=PATIENCE)


@pytest.mark.parametrize("rotates", [False, True])
def test_following_ends_with_the_unit_and_misses_no_line(unit: Unit, rotates: bool) -> None:
    count = 3000
    unit.start(f"i=0; while [ $i -lt {count} ]; do i=$((i + 1)); echo $i; done; echo last", wait=False)
    found = []
    for record in read_journal(unit.matches, is_active=unit.is_active):
        found.append(record.data)
        if rotates and len(found) in (1, 500, 1500):
            subprocess.run(["journalctl", "--rotate"], check=True, timeout=PATIENCE)
    assert found == [b"%d" % (number + 1) for number in range(count)] + [b"last"]


def test_a_line_is_there_while_the_unit_goes_on(unit: Unit) -> None:
    unit.start("echo one; sleep 1000", wait=False)
    following = read_journal(unit.matches, is_active=unit.is_active)
    assert next(following).data == b"one"
    subprocess.run(["systemctl", "stop", unit.name], check=True, timeout=PATIENCE)
    assert list(following) == []


@pytest.mark.parametrize(("tail", "older"), [(0, []), (2, [b"2", b"3"]), (9, [b"1", b"2", b"3"])])
def test_a_tail_that_is_followed(unit: Unit, tail: int, older: list[bytes]) -> None:
    unit.start("for i in 1 2 3; do echo $i; done")
    unit.start("sleep 1; echo 4; echo 5", wait=False)
    assert unit.lines(tail=tail, is_active=unit.is_active) == [*older, b"4", b"5"]


def test_who_leaves_early_leaves_no_journalctl(unit: Unit) -> None:
    unit.start("echo one; sleep 1000", wait=False)
    following = read_journal(unit.matches, is_active=unit.is_active)
    next(following)
    following.close()  # type: ignore[attr-defined]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert unit.id not in listed


@pytest.mark.needs_ordinary_user
def test_who_may_not_read_it_is_told(unit: Unit, as_user: Callable[..., object]) -> None:
    unit.start("echo secret")
    code = (
        "from volt_core.errors import VoltError\n"
        "from volt_core.systemd.journal import read_journal\n"
        f"try: print(list(read_journal({unit.matches!r})))\n"
        "except VoltError as error: print(error, error.details)\n"
    )
    said = as_user([sys.executable, "-c", code]).stdout.decode()  # type: ignore[attr-defined]
    assert "Cannot read the journal" in said
    assert "secret" not in said
