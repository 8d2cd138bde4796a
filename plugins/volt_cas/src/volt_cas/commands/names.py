"""``volt cas log``: the names of trees."""

from __future__ import annotations

import typer

from volt_cas.commands.words import RefName
from volt_core.cli.render import AsJson, moment, print_json, print_table
from volt_core.cli.session import volt_of
from volt_core.errors import RefNotFound
from volt_core.names import shown


def log(ctx: typer.Context, name: RefName, as_json: AsJson = False) -> None:
    """Show the former values of a ref, the newest first."""
    changes = volt_of(ctx).store.ref_log(name)
    if not changes:
        raise RefNotFound(f"The store has no ref {shown(name)}", hint="'volt cas status' lists the refs.")
    if as_json:
        print_json("cas-log", changes[::-1])
        return
    rows = [(moment(change.time), change.digest or "deleted", change.previous or "-") for change in changes[::-1]]
    print_table(("TIME", "DIGEST", "BEFORE"), rows)
