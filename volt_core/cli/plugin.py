"""``volt plugin``."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from volt_core.cli.exits import leave
from volt_core.cli.messages import say
from volt_core.cli.options import AsJson, Quiet, some_path
from volt_core.cli.render import print_json, print_names, print_table
from volt_core.cli.session import volt_of
from volt_core.cli.tables import TOP
from volt_core.contracts import capabilities_of
from volt_core.errors import NotFoundError
from volt_core.names import shown
from volt_core.plugins.loader import Failure, Loaded
from volt_core.plugins.probing import probe

_PROVIDED = {
    "backends": "backend",
    "stores": "store",
    "schemes": "images",
    "sections": "compose",
    "commands": "commands",
}
"""What the list says of a plugin: a field of its summary, and what to call it."""


def list_(
    ctx: typer.Context,
    timings: Annotated[
        bool, typer.Option("--timings", help="Show how long each takes to load and to probe this host.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List plugins and what they provide; broken ones are named, not hidden.

    What a backend can do is shown by 'volt plugin inspect'.
    """
    loaded = volt_of(ctx).plugins.load_all()
    if as_json:
        print_json("plugins", [_summary(item) for item in loaded.values()])
    elif quiet:
        print_names(loaded)
    elif timings:
        rows = sorted(map(_timings, loaded.values()), key=lambda row: -(row[2] + row[3]))
        shown = [(name, origin, _milliseconds(load), _milliseconds(asked)) for name, origin, load, asked in rows]
        print_table(("PLUGIN", "DISTRIBUTION", "LOAD", "PROBES"), shown)
    else:
        print_table(("PLUGIN", "DISTRIBUTION", "STATE", "PROVIDES"), map(_row, loaded.values()))


def inspect(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A plugin.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show a plugin; of a broken one, the traceback and what to do. Ends with 9 if it is broken."""
    loaded = volt_of(ctx).plugins.load_all()
    if name not in loaded:
        raise NotFoundError(f"No plugin is named {shown(name)}", hint=f"There are: {', '.join(sorted(loaded))}.")
    item = loaded[name]
    if as_json:
        print_json("plugin", _summary(item))
    else:
        for key, value in _summary(item).items():
            if value:
                print(f"{key + ':':<14}{value if isinstance(value, str) else _shown(value)}")
    if isinstance(item, Failure):
        error = item.error()
        say(f"Error: {error}")
        leave(error.exit_code)


def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is called; the distribution is volt-NAME.", show_default=False)],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="KIND", help="backend, store, source (of images), section (of compose files) or command."
        ),
    ],
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where to write it.", parser=some_path)
    ] = Path("."),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name the files and write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a new plugin: a directory with a distribution that can be installed, tested and used at once."""
    from volt_core.scaffold import new_plugin

    made = new_plugin(name, kind, directory, volt_of(ctx).plugins, commands=TOP, dry_run=dry_run)
    if as_json:
        print_json("new-plugin", made)
    elif dry_run:
        print_names(str(made.directory / file) for file in made.files)
    else:
        print(made.directory, flush=True)
        say("Next, where 'volt' is installed:")
        say(f"  cd {shlex.quote(str(made.directory))}")
        say("  pip install --editable '.[testing]'")
        say("  pytest")
        say(f"  volt plugin inspect {made.name}")


def _row(item: Loaded | Failure) -> tuple[str, ...]:
    if isinstance(item, Failure):
        return item.info.name, item.info.origin, "broken", item.reason
    summary = _summary(item)
    provides = [f"{what} {', '.join(summary[key])}" for key, what in _PROVIDED.items() if summary[key]]
    state = "ok" if all(said == "ok" for said in summary["probes"].values()) else "not usable here"
    return item.info.name, item.info.origin, f"{state}, outdated" if item.warnings else state, "; ".join(provides)


def _timings(item: Loaded | Failure) -> tuple[str, str, float, float]:
    """Return name, origin, and the seconds to load it and to ask its backends."""
    begun = time.perf_counter()
    for backend in item.backends if isinstance(item, Loaded) else ():
        probe(backend)
    return item.info.name, item.info.origin, item.seconds, time.perf_counter() - begun


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_shown(inner)}" for key, inner in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _summary(item: Loaded | Failure) -> dict[str, Any]:
    info = item.info
    head = {"name": info.name, "distribution": info.distribution, "version": info.version, "target": info.target}
    if isinstance(item, Failure):
        return {**head, "state": "broken", "reason": item.reason, "traceback": item.traceback, "seconds": item.seconds}
    provides = info.provides
    probes = {backend.NAME: probe(backend) for backend in item.backends}
    return {
        **head,
        "state": "ok",
        "warnings": list(item.warnings),
        "seconds": item.seconds,
        "backends": [backend.NAME for backend in item.backends],
        "capabilities": {backend.NAME: sorted(capabilities_of(backend)) for backend in item.backends},
        "probes": {name: "ok" if found.available else found.reason for name, found in probes.items()},
        "stores": [store.NAME for store in item.stores],
        "schemes": [scheme for source in item.sources for scheme in source.SCHEMES],
        "sections": [section.KEY for section in item.sections],
        "commands": [group.name for group in provides.commands] if provides else [],
        "hooks": list(provides.hooks) if provides else [],
    }
