"""Asking a backend or a source whether it works here, and not waiting for ever for the answer."""

from __future__ import annotations

import threading
import weakref

from volt_core.contracts import Backend, ImageSource, Probe

_LIMIT = 5.0
"""Seconds. A probe is to be quick; one that runs programs on a loaded machine is given this long."""
_AGAIN = "Update or remove the plugin."
_silent: weakref.WeakSet[type] = weakref.WeakSet()
"""Those that gave no answer: one wait is enough for a process."""


def probe(subject: type[Backend] | ImageSource, limit: float = _LIMIT) -> Probe:
    """Return the answer of a probe; one that raises, hangs or gives no answer is a no.

    It runs in a thread, which is left behind if it has no end within `limit` seconds.
    """
    asked = subject if isinstance(subject, type) else type(subject)
    if asked in _silent:
        return _no_answer(limit)
    answers: list[Probe] = []
    thread = threading.Thread(target=lambda: answers.append(_ask(subject)), name="volt-probe", daemon=True)
    thread.start()
    thread.join(limit)
    if answers:
        return answers[0]
    _silent.add(asked)
    return _no_answer(limit)


def _ask(subject: type[Backend] | ImageSource) -> Probe:
    try:
        answer: object = subject.probe()
    except BaseException as error:  # the plugin boundary: it may call sys.exit()
        return Probe.no(f"its probe failed: {type(error).__name__}: {error}", _AGAIN)
    if not isinstance(answer, Probe):
        return Probe.no(f"its probe returned {answer!r}, not a Probe", _AGAIN)
    return answer


def _no_answer(limit: float) -> Probe:
    return Probe.no(f"its probe gave no answer within {limit:g} s", _AGAIN)
