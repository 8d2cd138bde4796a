"""Running a long call of the extension: its progress is told while it runs, and an interrupt ends it."""

import errno
import os
import threading
from collections.abc import Callable
from typing import Any

from volt_core.native.extension import CImplementation
from volt_core.native.model import os_error

_LOOK = 0.1
"""Seconds between two looks at a running call."""

Advance = Callable[[int, int], None]
"""Told so many more bytes and files, as :meth:`Progress.advance` is."""


def count_threads() -> int:
    """Return how many threads a call may use: one for each CPU that this process may run on."""
    return len(os.sched_getaffinity(0))


def _tell_nobody(byte_count: int, file_count: int) -> None:
    """For calls that are quick, or done for somebody who tells no progress."""


def run(
    native: CImplementation, call: Callable[[Any], int], advance: Advance = _tell_nobody, *, failed: Any = None
) -> int:
    """Return what `call` does when given a ``struct volt_job *``; 0 or above.

    It runs in a thread of its own, for a signal's handler runs only in a main thread that is in Python. An exception
    of the handler, or of `advance`, cancels the call, and leaves when that has ended. `failed` is the ``char **`` in
    which the call leaves the path that it failed for.

    :raises OSError: if the call fails, with the path if there is one
    """
    job = native.ffi.new("struct volt_job *")
    result: list[int] = []
    worker = threading.Thread(target=lambda: result.append(call(job)), name="volt-native", daemon=True)
    told = [0, 0]

    def tell() -> None:
        files, byte_count = job.files, job.bytes
        if (byte_count, files) != (told[0], told[1]):
            advance(byte_count - told[0], files - told[1])
            told[:] = byte_count, files

    try:
        worker.start()
        while worker.is_alive():
            worker.join(_LOOK)
            tell()
        tell()  # it may have ended before anybody looked
    except BaseException:
        job.cancelled = 1
        _join(worker)
        raise
    if not result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # the call itself raised; the thread's hook has shown what
    if result[0] < 0:
        raise _failure(native, -result[0], failed)
    return result[0]


def _failure(native: CImplementation, code: int, failed: Any) -> OSError:
    if not failed or not failed[0]:
        return OSError(code, os.strerror(code))
    return os_error(code, native.ffi.string(native.ffi.gc(failed[0], native.lib.volt_free)))


def _join(worker: threading.Thread) -> None:
    """Wait to the end, whatever comes meanwhile: the call writes to memory that the caller is about to free."""
    while worker.is_alive():
        try:
            worker.join()
        except BaseException:  # noqa: S112 - a second interrupt: the first one is on its way out already
            continue
