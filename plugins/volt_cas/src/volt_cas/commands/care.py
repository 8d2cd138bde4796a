"""``volt cas status``, ``verify`` and ``gc``: what the store holds, and keeping it sound and small."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from volt_cas.commands.words import DIGEST_SHOWN
from volt_core.cli.exits import leave
from volt_core.cli.messages import say
from volt_core.cli.options import seconds
from volt_core.cli.progress import shown_progress
from volt_core.cli.render import AsJson, moment, print_json, print_table, size
from volt_core.cli.session import volt_of
from volt_core.errors import StoreError


def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show what the store holds."""
    store = volt_of(ctx).store
    usage, refs = store.usage(), list(store.refs())
    if as_json:
        print_json("cas-status", {"usage": usage, "refs": refs})
        return
    stored = usage.object_bytes + usage.variant_bytes + usage.tree_bytes
    rows = [
        ("objects", str(usage.objects), size(usage.object_bytes)),
        ("variants", str(usage.variants), size(usage.variant_bytes)),
        ("tree records", str(usage.trees), size(usage.tree_bytes)),
        ("linked trees", str(usage.links), "-"),
        ("together, what gc would remove included", "", size(stored)),
        ("what refs name, if nothing were shared", "", size(usage.referenced_bytes)),
        ("free", "", size(usage.free_bytes)),
    ]
    print_table(("WHAT", "COUNT", "SIZE"), rows)
    if refs:
        print()
        print_table(("REF", "DIGEST", "UPDATED"), [(r.name, r.digest[:DIGEST_SHOWN], moment(r.updated)) for r in refs])


def verify(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Read everything and compare it with its digest; ends with 6 if something is damaged."""
    store = volt_of(ctx).store
    begun = time.monotonic()
    with shown_progress() as progress:
        report = store.verify(progress=progress)
    if as_json:
        print_json("cas-verify", report)
    else:
        for line in report.damaged:
            print(line)
        say(
            f"{report.objects} objects, {size(report.bytes)}, {report.trees} tree records: "
            f"{len(report.damaged) or 'nothing'} damaged ({time.monotonic() - begun:.1f} s)"
        )
    if report.damaged:
        leave(StoreError.exit_code)


def gc(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would go and why; remove nothing.")
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option("--grace", metavar="SECONDS", parser=seconds, help="Keep what is younger; else as configured."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove what no ref reaches."""
    volt = volt_of(ctx, gc_grace=grace)
    grace = volt.config.values.gc_grace
    report = volt.store.gc(dry_run=dry_run, grace=grace)
    if as_json:
        print_json("cas-gc", report)
        return
    if dry_run:
        for line in report.removed:
            print(line)
    verb = "Would remove" if dry_run else "Removed"
    say(
        f"{verb} {report.objects} objects, {report.variants} variants, "
        f"{report.trees} tree records: {size(report.bytes)}"
        + (f"; kept {report.kept_young} that are younger than {grace:g} s" if report.kept_young else "")
    )
