"""``volt ps`` and what else shows workloads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import typer

from volt_core.cli.exits import Failures
from volt_core.cli.lazy import new_app
from volt_core.cli.messages import say, warn
from volt_core.cli.options import AsJson, Quiet
from volt_core.cli.render import age, print_json, print_names, print_table
from volt_core.cli.session import volt_of
from volt_core.errors import UsageError
from volt_core.models.workload import ContainerSpec, Kind, VmSpec
from volt_core.names import shown
from volt_core.paths import VoltPaths
from volt_core.workloads.listed import Listed

All = Annotated[bool, typer.Option("--all", "-a", help="Also those that do not run.")]
Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", "-f", metavar="KEY=VALUE", help="By name, kind, status, backend, image or label."),
]
Names = Annotated[list[str], typer.Argument(help="Names of workloads.", metavar="NAME...", show_default=False)]

_KEYS: dict[str, Callable[[Listed], Sequence[str]]] = {
    "name": lambda item: [item.workload.name],
    "kind": lambda item: [item.workload.kind],
    "status": lambda item: [item.status.status],
    "backend": lambda item: [item.workload.backend],
    "image": lambda item: [_image(item), _image(item).rpartition(":")[0]],
    "label": lambda item: [word for key, value in item.workload.labels.items() for word in (key, f"{key}={value}")],
}

ps = new_app(invoke_without_command=True, help="List workloads.")


@ps.callback()
def ps_(
    ctx: typer.Context,
    all_: All = False,
    filters: Filters = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List workloads that run; with --all, also those that do not."""
    if ctx.invoked_subcommand is None:
        _list(ctx, filters, everything=all_, as_json=as_json, quiet=quiet)


@ps.command("inspect")
def inspect(ctx: typer.Context, names: Names) -> None:
    """Show everything about workloads as JSON."""
    workloads = volt_of(ctx).workloads
    found: list[dict[str, Any]] = []
    failures = Failures()
    for name in names:
        with failures.collect():
            found.append(_details(workloads.get(name)))
    if found:
        print_json("workload-details", found)
    failures.leave()


def containers(ctx: typer.Context, filters: Filters = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List containers, whether they run or not."""
    _list(ctx, [*(filters or ()), f"kind={Kind.CONTAINER}"], everything=True, as_json=as_json, quiet=quiet)


def workloads(ctx: typer.Context, filters: Filters = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List workloads of all kinds, whether they run or not."""
    _list(ctx, filters, everything=True, as_json=as_json, quiet=quiet)


def _list(ctx: typer.Context, filters: Sequence[str] | None, *, everything: bool, as_json: bool, quiet: bool) -> None:
    wanted = _parse_filters(filters or ())
    # A filter by status asks for those that do not run as much as --all does.
    everything = everything or "status" in wanted
    volt = volt_of(ctx)
    survey = volt.workloads.survey()
    found = [
        item
        for item in survey.listed
        if (everything or item.status.status.active)
        and all(set(values) & set(_KEYS[key](item)) for key, values in wanted.items())
    ]
    for error in survey.damaged:
        warn(f"{error.brief}, leaving it out")
    if as_json:
        print_json("workloads", [_summary(item) for item in found])
    elif quiet:
        print_names(item.workload.name for item in found)
    else:
        print_table(("NAME", "KIND", "BACKEND", "IMAGE", "STATUS", "SINCE"), map(_row, found))
        for item in found:
            if item.status.note:
                warn(f"{item.workload.name}: {item.status.note}")
        if _has_others(volt.paths):
            say("Note: these are your own; those of the system are shown by 'sudo volt ps'.")


def _has_others(paths: VoltPaths) -> bool:
    """Tell whether these are a user's and the system's instance has, or had, containers too."""
    if paths.system or paths.instance:
        return False
    return os.path.isdir(VoltPaths.for_system().workloads(Kind.CONTAINER))


def _parse_filters(words: Sequence[str]) -> dict[str, list[str]]:
    """Return values by key; several of one key mean any of them."""
    wanted: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in _KEYS:
            raise UsageError(f"Invalid filter {shown(word)}", hint=f"Write KEY=VALUE with one of {', '.join(_KEYS)}.")
        wanted.setdefault(key, []).append(value)
    return wanted


def _image(item: Listed) -> str:
    spec = item.workload.spec
    return spec.image if isinstance(spec, ContainerSpec | VmSpec) else ""


def _row(item: Listed) -> tuple[str, ...]:
    workload, status = item.workload, item.status
    shown_status = str(status.status)
    if not status.status.active and status.outcome is not None:
        shown_status += f" ({status.outcome})"
    moment = status.started if status.status.active else (status.outcome.finished if status.outcome else 0)
    since = age(moment or workload.created)
    return workload.name, workload.kind, workload.backend, _image(item) or "-", shown_status, since


def _summary(item: Listed) -> dict[str, Any]:
    workload, status = item.workload, item.status
    return {
        "name": workload.name,
        "id": workload.id,
        "kind": workload.kind,
        "backend": workload.backend,
        "image": _image(item),
        "status": status.status,
        "pid": status.pid,
        "created": workload.created,
        "started": status.started,
        "exit_status": status.outcome.exit_status if status.outcome else None,
        "invocation": status.outcome.invocation if status.outcome else "",
        "labels": dict(workload.labels),
        "note": status.note,
    }


def _details(item: Listed) -> dict[str, Any]:
    """Everything there is; environment values included, since who may read them may see them."""
    workload: dict[str, Any] = msgspec.to_builtins(item.workload)
    status: dict[str, Any] = msgspec.to_builtins(item.status)
    if item.status.outcome is not None:
        status["outcome"]["exit_status"] = item.status.outcome.exit_status
    return {**workload, "state": status}
