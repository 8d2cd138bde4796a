"""Writing behind: what is to be staged from memory is written by the extension, on other cores than its reader's.

An archive is read by one thread, and what it costs is hashing and creating files. So contents are collected into
batches, and a few of these are being written at any time. Without the extension each file is written when it comes.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from volt_core.native.extension import CImplementation
from volt_core.native.jobs import count_threads
from volt_core.native.owner import Owner, OwnerStruct
from volt_core.native.staging import StagedFile, Staging

_MOST_BYTES = 2 * 1024 * 1024
_MOST_FILES = 128
_WAITING = 2
"""Batches for each thread that may wait or be written."""


class Behind:
    """Files for one staging directory, which stays the caller's. An error is raised by a later call."""

    def __init__(self, native: CImplementation, store_fd: int, staging_fd: int, owner: Owner) -> None:
        self._staging = Staging(native, store_fd, staging_fd, OwnerStruct(native, owner))
        self._counted = 0, 0
        self._threads = count_threads()
        self._pool = ThreadPoolExecutor(self._threads, "volt-behind")
        self._batch: list[StagedFile] = []
        self._bytes = 0
        self._count = 0
        self._running: deque[Future[None]] = deque()

    def add(self, file: StagedFile) -> None:
        """Take a file; it is on its way. Raises :class:`OSError` for an earlier one."""
        self._batch.append(file)
        self._bytes += len(file.data)
        if self._bytes >= _MOST_BYTES or len(self._batch) >= _MOST_FILES:
            self._submit()

    def flush(self) -> tuple[int, int]:
        """Wait until all files are written; return how many objects and bytes were new since the last time.

        Counted are those that came without a digest. Raises :class:`OSError`.
        """
        self._submit()
        while self._running:
            self._running.popleft().result()
        before, self._counted = self._counted, self._staging.counts()
        return self._counted[0] - before[0], self._counted[1] - before[1]

    def close(self) -> None:
        """End; what was not written yet is dropped."""
        self._batch.clear()
        self._pool.shutdown(cancel_futures=True)

    def _submit(self) -> None:
        if not self._batch:
            return
        while len(self._running) >= _WAITING * self._threads:
            self._running.popleft().result()
        number = self._count % self._threads + 1
        batch, self._batch, self._bytes = self._batch, [], 0
        self._count += 1
        self._running.append(self._pool.submit(self._staging.write, number, batch))
