"""``volt cas``: the store by hand. Each command is imported when it is called."""

from __future__ import annotations

from typing import Final

from volt_core.cli.lazy import group_of, new_app
from volt_core.cli.tables import Entry

_M = "volt_cas.commands"

TABLE: Final = {
    "build": Entry(f"{_M}.content:build", "Store a directory as a tree."),
    "checkout": Entry(f"{_M}.content:checkout", "Make a stored tree on disk."),
    "status": Entry(f"{_M}.care:status", "Show what the store holds."),
    "verify": Entry(f"{_M}.care:verify", "Read everything and compare it with its digest."),
    "gc": Entry(f"{_M}.care:gc", "Remove what no ref reaches."),
    "ls": Entry(f"{_M}.look:list_", "List what a stored tree holds."),
    "log": Entry(f"{_M}.names:log", "Show the former values of a ref."),
}

app = new_app(cls=group_of(TABLE), help="Work with the content-addressed store.")


@app.callback()
def cas() -> None:
    """Work with the content-addressed store."""
