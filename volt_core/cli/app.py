"""The typer application: global options, and the table of commands with what plugins add to it."""

from __future__ import annotations

import traceback
from typing import Annotated, Any

import typer

from volt_core import __version__
from volt_core.cli import tables
from volt_core.cli.entry import Entry, Table
from volt_core.cli.lazy import LazyGroup, group_of, load_command, new_app
from volt_core.cli.session import Session
from volt_core.errors import PluginBroken
from volt_core.plugins import Plugins


class _Top(LazyGroup):
    """The core's commands, then those of plugins; a plugin cannot replace one of the core's."""

    def table(self) -> Table:
        return tables.TOP

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None:
            group = self._plugins(ctx).find_command_group(cmd_name)
            found = _load_added(cmd_name, Entry(group.target, group.help)) if group else None
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        super().format_commands(ctx, formatter)
        added = [group for group in self._plugins(ctx).command_groups() if group.name not in tables.TOP]
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(group.name, group.help) for group in added])

    def _plugins(self, ctx: Any) -> Plugins:
        # While help is shown the callback has not run yet, so there is no session from it.
        session = ctx.obj or Session(ctx.params.get("root"))
        plugins: Plugins = session.volt.plugins
        return plugins


def _load_added(name: str, entry: Entry) -> Any:
    try:
        return load_command(name, entry)
    except Exception as error:  # the plugin boundary
        raise PluginBroken(
            f"Command '{name}' of a plugin cannot be loaded: {type(error).__name__}: {error}",
            details="".join(traceback.format_exception(error)),
            hint="Run 'volt plugin list' to see whose it is; update or remove that.",
        ) from error


app = new_app(cls=_Top)
container = new_app(cls=group_of(tables.CONTAINER), help="Containers.")
workload = new_app(cls=group_of(tables.WORKLOAD), help="Workloads of any kind.")
image = new_app(cls=group_of(tables.IMAGE), help="Images.")
plugin = new_app(cls=group_of(tables.PLUGIN), help="Plugins.")
config = new_app(cls=group_of(tables.CONFIG), help="Configuration.")

for _group in (container, workload, image, plugin, config):
    _group.callback()(lambda: None)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"volt {__version__}")
        raise typer.Exit


@app.callback()
def main(
    ctx: typer.Context,
    root: Annotated[
        str | None, typer.Option("--root", metavar="DIR", help="Use the instance below DIR; also VOLT_ROOT.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Volt runs containers, virtual machines and services on one Linux machine."""
    ctx.obj = Session(root)
    ctx.call_on_close(ctx.obj.close)
