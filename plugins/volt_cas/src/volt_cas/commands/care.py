"""``volt cas status``, ``verify``, ``gc`` and ``df``: what the store holds, and keeping it sound and small."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volt_cas.commands import direct
from volt_cas.commands.words import DIGEST_SHOWN
from volt_core.cli.messages import warn
from volt_core.cli.options import AsJson, seconds, some_path
from volt_core.cli.render import moment, print_json, print_table, size
from volt_core.cli.session import volt_of
from volt_core.errors import Locked, StateError, StoreError


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


def verify(
    ctx: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Replace what is damaged by good copies.")] = False,
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="PATH", help="Where good copies are: a directory, a store, a bundle.", parser=some_path
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read everything and compare it with its digest; ends with 6 if something is damaged.

    With --repair good copies are taken from the store itself and from each --from: any directory with the files (a
    former checkout), another store, or a bundle. What has no good copy is moved to quarantine; putting the tree again
    brings it.
    """
    direct.verify(volt_of(ctx), repair=repair, sources=sources or (), json=as_json)


def gc(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would go and why; remove nothing.")
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option("--grace", metavar="SECONDS", parser=seconds, help="Keep what is younger; else as configured."),
    ] = None,
    keep_last: Annotated[
        int, typer.Option("--keep-last", metavar="N", min=0, help="Keep the N last former trees of each ref, for undo.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Remove what no ref reaches.

    What refs pointed at before goes as well, unless --keep-last spares it: 'volt cas undo' needs it.
    """
    direct.gc(volt_of(ctx), dry_run=dry_run, grace=grace, keep_last=keep_last, json=as_json)


def df(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show the room that the store takes, what gc would free, and what each ref adds."""
    volt = volt_of(ctx)
    space = volt.store.space()
    try:
        garbage = volt.store.gc(dry_run=True, grace=volt.config.values.gc_grace)
    except (Locked, StateError, StoreError) as error:
        warn(f"what gc would free is not known: {error.brief}, showing the rest")
        garbage = None
    if as_json:
        print_json("cas-df", {"space": space, "gc": garbage and {"bytes": garbage.bytes, "objects": garbage.objects}})
        return
    rows = [
        ("file system", size(space.total_bytes)),
        ("free", size(space.free_bytes)),
        ("taken by the store, in whole blocks", size(space.allocated_bytes)),
        ("gc would free", size(garbage.bytes) if garbage else "-"),
    ]
    print_table(("WHAT", "SIZE"), rows)
    if space.refs:
        print()
        shares = [
            (
                it.name,
                size(it.bytes),
                size(it.unique_bytes),
                f"{1 - it.unique_bytes / it.bytes:.0%}" if it.bytes else "-",
            )
            for it in space.refs
        ]
        print_table(("REF", "CONTENT", "ITS OWN", "SHARED"), shares)
