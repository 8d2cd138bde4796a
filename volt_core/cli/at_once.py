"""Acts on several names at the same time."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")
MOST = 8
"""Acts under way at a time: they wait for others rather than compute."""


def begin_all(names: Sequence[str], act: Callable[[str], _T]) -> list[Future[_T]]:
    """Begin the act for every name, in order, and return what will come of each.

    The threads do not keep the process from ending: whoever is interrupted while it waits can go.
    """
    waiting = collections.deque((name, Future[_T]()) for name in names)
    begun = [future for _, future in waiting]
    for _ in range(min(len(names), MOST)):
        threading.Thread(target=_work, args=(waiting, act), daemon=True).start()
    return begun


def _work(waiting: collections.deque[tuple[str, Future[_T]]], act: Callable[[str], _T]) -> None:
    while True:
        try:
            name, future = waiting.popleft()
        except IndexError:
            return
        try:
            future.set_result(act(name))
        except BaseException as error:  # for whoever waits for it
            future.set_exception(error)
