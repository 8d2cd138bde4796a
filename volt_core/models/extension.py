"""What plugins hand to the command line."""

from __future__ import annotations

import enum

import msgspec


class CommandGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group of commands that a plugin adds: ``volt NAME …``."""

    name: str
    help: str
    target: str
    """``package.module:attribute`` of a typer application, imported only when the group is called."""
    table: str = ""
    """The same of a :data:`volt_core.cli.entry.Table`, if some of the commands can be carried out without typer."""


class Verdict(enum.StrEnum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but slower or with less."""
    MISSING = "missing"


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``volt doctor``."""

    area: str
    what: str
    verdict: Verdict
    hint: str = ""
    """What to do about it."""
