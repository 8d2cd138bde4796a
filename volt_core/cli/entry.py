"""What a table of commands says of each: data only, so that help and completion import nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

FLAG = "flag"
"""An option without a value."""
NAMES = "names"
"""One or more names of workloads; the last of a command's words."""


class Plain(NamedTuple):
    """How a command looks when it can be carried out without typer, see :mod:`volt_core.cli.plain`."""

    target: str
    """``module:function``; called with the instance, the words, and the options that were given, by their names."""
    words: tuple[str, ...] = ()
    """What each word is: ``text``, ``path``, or :data:`NAMES`."""
    options: Mapping[str, str] = {}
    """Long options and what their values are: as above, ``seconds``, or :data:`FLAG`."""


class Entry(NamedTuple):
    """One command: its help, and where it is."""

    target: str
    """``module:attribute`` of a function, or of a typer application for a group."""
    help: str
    hidden: bool = False
    """Left out of the help."""
    plain: Plain | None = None
    """None for a command that is typer's alone."""


Table = Mapping[str, Entry]
