"""The typer application of ``volt cas``. Each command is imported when it is called."""

from __future__ import annotations

from volt_cas.commands.table import TABLE
from volt_core.cli.lazy import group_of, new_app

app = new_app(cls=group_of(TABLE), help="Work with the content-addressed store.")


@app.callback()
def cas() -> None:
    """Work with the content-addressed store."""
