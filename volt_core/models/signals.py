"""Names and numbers of signals, as people and images write them."""

from __future__ import annotations

import re
import signal as signals

from volt_core.errors import InvalidSpec
from volt_core.names import shown

_OFFSET = r"^(SIGRTMIN|SIGRTMAX)([+-][0-9]{1,2})\Z"


def parse_signal(text: str) -> int:
    """Return the number of ``TERM``, ``SIGTERM``, ``SIGRTMIN+3`` or ``15``. Raises :class:`InvalidSpec`."""
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if text.isascii() and text.isdigit():
        number = int(text)
    elif match := re.match(_OFFSET, name):
        number = signals.Signals[match[1]] + int(match[2])
    else:
        number = int(signals.Signals.__members__.get(name, 0))
    if not 0 < number < signals.NSIG:
        raise InvalidSpec(f"Unknown signal {shown(text)}", hint="Use TERM, SIGRTMIN+3 or a number from 1 to 64.")
    return number


def signal_name(number: int) -> str:
    """Return ``SIGTERM`` for 15, and ``SIG42`` for a number without a name."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"SIG{number}"
