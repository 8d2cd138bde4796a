"""Worker threads for a bundle: what hashes, compresses or inflates lets go of the interpreter lock."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
WORKERS = len(os.sched_getaffinity(0))


@contextlib.contextmanager
def open_workers() -> Iterator[ThreadPoolExecutor]:
    """Give as many threads as this process has CPUs; at the end, what has not begun is dropped."""
    workers = ThreadPoolExecutor(WORKERS)
    try:
        yield workers
    finally:
        workers.shutdown(cancel_futures=True)


def ahead(workers: ThreadPoolExecutor, act: Callable[[In], Out], items: Iterable[In]) -> Iterator[tuple[In, Out]]:
    """Yield each item, in order, with what `act` made of it; as many as there are workers, and one more, are ahead."""
    pending: deque[tuple[In, Future[Out]]] = deque()
    for item in items:
        pending.append((item, workers.submit(act, item)))
        if len(pending) > WORKERS:
            first, task = pending.popleft()
            yield first, task.result()
    for first, task in pending:
        yield first, task.result()
