"""Foreground runs: the unit fetches its streams from the caller's process.

``rootfs`` connects to a socket of ours while the start job runs; ``csrc/programs/rootfs.c`` has the protocol.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from volt_core.contracts import Streams
from volt_nspawn.relay import Relay

_HANDSHAKE_SECONDS = 10.0


@contextlib.contextmanager
def offered(relay: Relay, streams: Streams, path: Path) -> Iterator[None]:
    """Offer the relay's far side at a socket for the length of the block, to the first who asks."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    stop_read, stop_write = os.pipe2(os.O_CLOEXEC)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as listener:
        _bind(listener, path)
        server = threading.Thread(target=_serve, args=(listener, relay, streams, stop_read), daemon=True)
        server.start()
        try:
            yield
        finally:
            os.close(stop_write)
            server.join()
            os.close(stop_read)
            path.unlink(missing_ok=True)
            relay.hand_over()


def _bind(listener: socket.socket, path: Path) -> None:
    # A name of at most 107 bytes for a path of any length.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    listener.listen(1)


def _serve(listener: socket.socket, relay: Relay, streams: Streams, stop: int) -> None:
    if stop in select.select([listener.fileno(), stop], [], [])[0]:
        return
    with contextlib.suppress(OSError):
        connection = listener.accept()[0]
        connection.settimeout(_HANDSHAKE_SECONDS)
        rows, columns = streams.size
        text = f"attached=1 tty={int(streams.tty)} size={rows}x{columns}"
        socket.send_fds(connection, [text.encode()], relay.far)
        connection.recv(16)
        relay.connect(connection)
