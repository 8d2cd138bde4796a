"""Foreground runs: the unit fetches the caller's streams, and the caller's signals go to the unit.

``rootfs`` connects to a socket of ours while the start job runs; ``csrc/programs/rootfs.c`` has the protocol.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from volt_core.contracts import Streams

_HANDSHAKE_SECONDS = 10.0
_FORWARDED = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT}
    | {signal.SIGWINCH}
)


@contextlib.contextmanager
def offered(streams: Streams, path: Path) -> Iterator[None]:
    """Offer the streams at a socket for the length of the block, to the first who asks."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    stop_read, stop_write = os.pipe2(os.O_CLOEXEC)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as listener:
        _bind(listener, path)
        server = threading.Thread(target=_serve, args=(listener, streams, stop_read), daemon=True)
        server.start()
        try:
            yield
        finally:
            os.close(stop_write)
            server.join()
            os.close(stop_read)
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def forwarded(streams: Streams, pid: int | None) -> Iterator[None]:
    """Pass the caller's signals on to a process for the length of the block."""
    if streams.events is None or pid is None:
        yield
        return
    stop_read, stop_write = os.pipe2(os.O_CLOEXEC)
    thread = threading.Thread(target=_forward, args=(streams.events, pid, stop_read), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(stop_write)
        thread.join()
        os.close(stop_read)


def _bind(listener: socket.socket, path: Path) -> None:
    # A name of at most 107 bytes for a path of any length.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    listener.listen(1)


def _serve(listener: socket.socket, streams: Streams, stop: int) -> None:
    if stop in select.select([listener.fileno(), stop], [], [])[0]:
        return
    with contextlib.suppress(OSError), listener.accept()[0] as connection:
        connection.settimeout(_HANDSHAKE_SECONDS)
        rows, columns = streams.size
        text = f"attached=1 tty={int(streams.tty)} stdin=1 size={rows}x{columns}"
        socket.send_fds(connection, [text.encode()], [streams.stdin, streams.stdout, streams.stderr])
        connection.recv(16)


def _forward(events: int, pid: int, stop: int) -> None:
    while True:
        ready = select.select([events, stop], [], [])[0]
        if stop in ready:
            return
        numbers = os.read(events, 4096)
        if not numbers:
            return
        for number in numbers:
            if number in _FORWARDED:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
