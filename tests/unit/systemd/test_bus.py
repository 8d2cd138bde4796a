"""The bus where it fails: what is not there, what does not answer, what refuses."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import HeaderFields, new_method_return
from jeepney.low_level import Parser

from volt_core.errors import BackendError, BackendUnavailable, InvalidConfig, TimedOut
from volt_core.systemd.bus import Systemd, unit_path
from volt_core.systemd.client import LIMIT_VARIABLE, SystemdError
from volt_core.systemd.unitstate import GONE, read_state
from volt_core.testing.workbench import background

_ADDRESS = "DBUS_SYSTEM_BUS_ADDRESS"


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "0.2")


@contextlib.contextmanager
def _bus(path: Path, monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> Iterator[None]:
    """Listen as a bus that gives these answers, one each time something comes, and then keeps silent."""
    monkeypatch.setenv(_ADDRESS, f"unix:path={path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        kept: list[socket.socket] = []

        def serve() -> None:
            connection = listener.accept()[0]
            kept.append(connection)
            for answer in answers:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(10)
        for connection in kept:
            connection.close()


def test_no_bus_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_ADDRESS, f"unix:path={tmp_path / 'none'}")
    with Systemd() as systemd, pytest.raises(BackendUnavailable, match="Cannot reach the system bus"):
        systemd.show("a.service")


@pytest.mark.usefixtures("limit")
def test_a_bus_that_does_not_let_in_is_waited_for_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _bus(tmp_path / "bus", monkeypatch), Systemd() as systemd, pytest.raises(TimedOut, match=r"bus .* 0\.2 s"):
        systemd.show("a.service")


@pytest.mark.usefixtures("limit")
def test_a_bus_that_lets_in_and_says_nothing_is_waited_for_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        _bus(tmp_path / "bus", monkeypatch, b"OK 0123\r\n"),
        Systemd() as systemd,
        pytest.raises(TimedOut, match=r"bus .* 0\.2 s"),
    ):
        systemd.show("a.service")


def test_who_is_no_bus_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        _bus(tmp_path / "bus", monkeypatch, b"REJECTED\r\n"),
        Systemd() as systemd,
        pytest.raises(BackendError, match="system bus"),
    ):
        systemd.show("a.service")


def test_a_connection_that_breaks_is_said_and_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_ADDRESS, f"unix:path={tmp_path / 'bus'}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bus"))
        listener.listen(1)
        connections: list[int] = []

        def serve() -> None:
            for number in range(2):
                with listener.accept()[0] as connection:
                    connections.append(number)
                    while not connection.recv(4096).endswith(b"\r\n"):
                        pass
                    connection.sendall(b"OK 0123\r\n")
                    _answer(connection, "s", (":1.1",))
                    connection.recv(4096)

        with background(serve), Systemd() as systemd:
            for _ in range(2):
                with pytest.raises(BackendError, match="Lost the connection to systemd"):
                    systemd.show("a.service")
    assert connections == [0, 1]


def _answer(connection: socket.socket, signature: str, body: tuple[object, ...]) -> None:
    """Answer the next call."""
    parser = Parser()
    while (call := parser.get_next_message()) is None:
        parser.add_data(connection.recv(4096).removeprefix(b"BEGIN\r\n"))
    call.header.fields[HeaderFields.sender] = ":1.1"
    connection.sendall(new_method_return(call, signature, body).serialise(serial=1))


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", "1e99"])
def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, value)
    with pytest.raises(InvalidConfig, match=LIMIT_VARIABLE):
        Systemd()


@pytest.mark.parametrize(
    ("unit", "path"),
    [
        ("volt-container-a.service", "volt_2dcontainer_2da_2eservice"),
        ("9a.service", "_39a_2eservice"),
        ("ä@x.service", "_c3_a4_40x_2eservice"),
    ],
)
def test_the_path_of_a_unit(unit: str, path: str) -> None:
    assert unit_path(unit) == f"/org/freedesktop/systemd1/unit/{path}"


def test_what_is_not_set_is_none() -> None:
    unset = 2**64 - 1
    values: dict[str, Any] = {
        "LoadState": "loaded",
        "ActiveState": "activating",
        "SubState": "start",
        "InvocationID": bytes(range(16)),
        "NeedDaemonReload": False,
        "FragmentPath": "",
        "InactiveExitTimestamp": 5,
    }
    state = read_state({**values, "MemoryCurrent": unset, "TasksCurrent": unset, "TimeoutStopUSec": unset})
    assert (state.memory_bytes, state.tasks, state.stop_seconds, state.cpu_ns) == (None, None, None, 0)
    assert state.is_active
    assert state.entered == 5000
    assert state.invocation == "000102030405060708090a0b0c0d0e0f"
    assert read_state({**values, "MemoryCurrent": 7, "TimeoutStopUSec": 2_500_000}).stop_seconds == 2.5


def test_a_unit_that_is_not_there_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = Systemd()

    def refuse(*_: Any, **__: Any) -> Any:
        raise SystemdError("systemd refused GetAll", name="org.freedesktop.systemd1.NoSuchUnit")

    monkeypatch.setattr(systemd, "_call", refuse)
    assert systemd.show("a.service") == GONE
    assert systemd.look("a.service") == GONE
    systemd.reset_failed("a.service")
    systemd.kill("a.service", 9)
