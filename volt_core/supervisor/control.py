"""The socket between a supervisor and its clients: whole messages, with descriptors where they are needed.

A connection is a SOCK_SEQPACKET Unix socket; each packet is one request or answer in msgpack. What may be
larger than a packet (arguments, environment) travels in a memfd. Socket names go through ``/proc/self/fd``,
because a path of more than 107 bytes fits in no socket address.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from volt_core.supervisor.model import SOCKET_FILE, Answer, Request

_T = TypeVar("_T")
_PACKET = 64 * 1024
_MAX_FDS = 8
# The second: text that is no UTF-8. The third: what no field asked for, nested deeply.
_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encode = msgspec.msgpack.encode
_requests = msgspec.msgpack.Decoder(Request)
_answers = msgspec.msgpack.Decoder(Answer)


class Connection:
    """One end of a connection; closed by its owner."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self.sock.fileno()

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def send(self, message: Request | Answer, fds: Sequence[int] = ()) -> None:
        """Send one message; `fds` stay the caller's. Raises OSError if the other end is gone."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([_encode(message)], ancillary, socket.MSG_NOSIGNAL)

    def receive_request(self) -> tuple[Request | None, list[int]]:
        """Return a request and its descriptors, now the caller's; None at the end.

        Raises msgspec.DecodeError for what is no request.
        """
        data, fds = self._receive()
        try:
            return (_requests.decode(data) if data else None), fds
        except _NOT_DECODED as error:
            close_all(fds)
            raise msgspec.DecodeError(str(error)) from error

    def receive_answer(self) -> Answer | None:
        """Return an answer, or None if the supervisor is gone. Honours the socket's timeout."""
        try:
            data, fds = self._receive()
        except ConnectionResetError:
            return None
        close_all(fds)
        return _answers.decode(data) if data else None

    def is_left(self) -> bool:
        """Tell whether the other end has hung up, or was killed."""
        poll = select.poll()
        poll.register(self.sock, 0)
        return bool(poll.poll(0))

    def _receive(self) -> tuple[bytes, list[int]]:
        fds = array.array("i")
        data, ancillary, _, _ = self.sock.recvmsg(
            _PACKET, socket.CMSG_SPACE(_MAX_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        return data, list(fds)


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def pair() -> tuple[Connection, Connection]:
    """Return the two ends of a new connection."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Connection(one), Connection(other)


def listen(folder: Path) -> socket.socket:
    """Return the listening socket in a workload's folder; only its owner can connect."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    (folder / SOCKET_FILE).unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        with _short_name(folder) as name:
            sock.bind(name)
    finally:
        os.umask(mask)
    sock.listen(64)
    return sock


def accept(listener: socket.socket) -> Connection:
    """Return the next client's connection."""
    return Connection(listener.accept()[0])


def adopt(fd: int) -> Connection:
    """Return the connection on an inherited descriptor."""
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    return Connection(sock)


def find_supervisor(folder: Path) -> Connection | None:
    """Connect to the supervisor of a workload's folder; None if there is none."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        with _short_name(folder) as name:
            sock.connect(name)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except BaseException:
        sock.close()
        raise
    return Connection(sock)


@contextlib.contextmanager
def _short_name(folder: Path) -> Iterator[str]:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET_FILE}"
    finally:
        os.close(fd)


def to_memfd(message: msgspec.Struct) -> int:
    """Return a descriptor, the caller's, from which :func:`from_memfd` reads `message`."""
    fd = os.memfd_create("volt", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(_encode(message))
    return fd


def from_memfd(fd: int, model: type[_T]) -> _T:
    """Read the message that :func:`to_memfd` wrote, and close `fd`. Raises msgspec.DecodeError for what is none."""
    try:
        info = os.fstat(fd)
        # Anything else could block, or never end.
        if not stat.S_ISREG(info.st_mode):
            raise msgspec.DecodeError("it is in no memfd")
        return msgspec.msgpack.decode(os.pread(fd, info.st_size, 0), type=model)
    except _NOT_DECODED as error:
        raise msgspec.DecodeError(str(error)) from error
    finally:
        os.close(fd)
