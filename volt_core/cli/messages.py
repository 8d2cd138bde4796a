"""What the command line says on standard error."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write one message to standard error."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Write a warning: what is the matter, and what happens instead."""
    say(f"Warning: {text}")
