"""``volt cas log``, ``undo``, ``tag`` and ``rm``: the names of trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from volt_cas.binding import MOUNT_PREFIX
from volt_cas.commands.arguments import RefName
from volt_cas.commands.words import check_own_ref, find_digest, find_name, find_ref
from volt_core.cli.exits import Failures
from volt_core.cli.messages import say
from volt_core.cli.options import AsJson
from volt_core.cli.render import moment, print_json, print_table
from volt_core.cli.session import volt_of
from volt_core.contracts import Ref, RefChange, Store
from volt_core.errors import AlreadyExists, ConflictError, NotFoundError, ObjectMissing
from volt_core.names import USE_PREFIX, shown

Name = Annotated[str, typer.Argument(metavar="REF", help="A ref or an image.", show_default=False)]


def log(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show the values of a ref, the newest first: 0 is the present one, the others are for 'volt cas undo --to'."""
    store = volt_of(ctx).store
    changes = store.ref_log(find_name(store, name))[::-1]
    if as_json:
        print_json("cas-log", changes)
        return
    rows = [
        (str(number), moment(change.time), change.digest or "deleted", change.previous or "-")
        for number, change in enumerate(changes)
    ]
    print_table(("N", "TIME", "DIGEST", "BEFORE"), rows)


def undo(
    ctx: typer.Context,
    name: Name,
    to: Annotated[
        int | None, typer.Option("--to", metavar="N", min=1, help="The value with this number in 'volt cas log'.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set a ref to its previous value; also one that was deleted.

    That is a change like any other and logged: undo twice, and the ref is what it was.
    """
    store = volt_of(ctx).store
    name = find_name(store, name)
    _check_not_in_use(name)
    chosen = _former(store, name, to)
    try:
        store.set_ref(chosen)
    except ObjectMissing as error:
        raise ObjectMissing(
            f"Cannot undo {shown(name)}: the store no longer has {chosen.digest}",
            hint="gc removed it; 'volt cas gc --keep-last N' spares the former trees of refs.",
        ) from error
    if as_json:
        print_json("cas-ref", store.find_ref(name))
        return
    say(f"{name} is what it became at {moment(chosen.updated)}: {chosen.digest}")


def tag(
    ctx: typer.Context,
    name: RefName,
    new: Annotated[str, typer.Argument(metavar="NAME", help="The new ref.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a ref of that name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give a tree one more name."""
    check_own_ref(new)
    store = volt_of(ctx).store
    source = find_ref(store, name)
    digest = source.digest if source else find_digest(store, name)
    # What an image says of itself belongs to the name; a tree that workloads use is not in use by its new name.
    told = source if source and not source.name.startswith(USE_PREFIX) else Ref(name=new, digest=digest)
    wanted = Ref(name=new, digest=digest, kind=told.kind, meta=told.meta)
    there = store.find_ref(new)
    if there and not force and (there.digest, there.kind, there.meta) != (digest, wanted.kind, wanted.meta):
        raise AlreadyExists(f"Ref {shown(new)} is there and names {there.digest}", hint="Use --force to replace it.")
    store.set_ref(wanted)
    if as_json:
        print_json("cas-ref", store.find_ref(new))


def rm(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="REF...", help="Refs or images.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Drop names of trees; 'volt cas undo' brings one back until gc has removed the tree."""
    store = volt_of(ctx).store
    failures = Failures()
    removed = []
    for text in names:
        with failures.collect():
            name = find_name(store, text, live=True)
            _check_not_in_use(name)
            store.delete_ref(name)
            removed.append(name)
    if as_json:
        print_json("cas-rm", removed)
    failures.leave()


def _former(store: Store, name: str, number: int | None) -> Ref:
    """Return the former value with this number, or the newest one that is another than the present."""
    changes = store.ref_log(name)[::-1]
    if number is not None and number >= len(changes):
        raise NotFoundError(f"Ref {shown(name)} has no value {number}", hint=f"'volt cas log {name}' lists them.")
    for change in changes[1:] if number is None else changes[number : number + 1]:
        if change.digest is None:
            if number is not None:
                raise ConflictError(f"Ref {shown(name)} was deleted then", hint=f"volt cas rm {name}")
        elif number is not None or _value(change) != _value(changes[0]):
            return Ref(name=name, digest=change.digest, kind=change.kind, meta=change.meta, updated=change.time)
    raise NotFoundError(f"Ref {shown(name)} has no former value", hint="It was never another one.")


def _value(change: RefChange) -> tuple[str | None, str, Mapping[str, str]]:
    return change.digest, change.kind, change.meta


def _check_not_in_use(name: str) -> None:
    if name.startswith(MOUNT_PREFIX):
        raise ConflictError(f"Ref {shown(name)} keeps a tree that is mounted", hint="volt cas umount DIR drops it.")
    if name.startswith(USE_PREFIX):
        kind, _, workload = name.removeprefix(USE_PREFIX).partition("/")
        raise ConflictError(
            f"Ref {shown(name)} keeps the tree that {kind} '{workload}' uses",
            hint=f"Delete that: volt delete {workload}" if workload else "Delete what uses it.",
        )
