"""Command groups that import a command when it is called and not before."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from volt_core.cli.entry import Entry, Table
from volt_core.errors import UsageError

USAGE = UsageError.exit_code


def load_command(name: str, entry: Entry) -> Any:
    """Import one command and make it ready to be called."""
    module, _, attribute = entry.target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        command = get_command(found)
    else:
        # In "[options] IMAGE [CMD...]" options end where the first argument begins; a command says so itself.
        settings = getattr(found, "context_settings", None)
        single = new_app()
        single.command(name, cls=_Command, help=found.__doc__, context_settings=settings)(found)
        command = get_command(single)
    command.name = name
    return command


def new_app(**options: Any) -> typer.Typer:
    """Return an application with the settings that all of Volt's share."""
    options.setdefault("no_args_is_help", not options.get("invoke_without_command", False))
    options.setdefault("cls", Group)
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
        **options,
    )


class _Command(TyperCommand):
    """A command whose every wrong option is its own: of some the library does not say whose they are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; see the class."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "ctx", ctx) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise


class Group(TyperGroup):
    """A group that shows its help, as a usage error, when no command is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; the library would make an error message of the help."""
        if not args and self.no_args_is_help:
            typer.echo(ctx.get_help(), err=True)
            ctx.exit(USAGE)
        return super().parse_args(ctx, args)


class LazyGroup(Group):
    """A group whose commands stand in a table."""

    def table(self) -> Table:
        """Return the commands; subclasses define it."""
        return {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the table's order, which is the order of the help."""
        return list(self.table())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and return one command."""
        entry = self.table().get(cmd_name)
        return load_command(cmd_name, entry) if entry else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the help from the table: asking each command for its help would import them all."""
        rows = [(name, entry.help) for name, entry in self.table().items() if not entry.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def group_of(table: Table) -> type[LazyGroup]:
    """Return a group class for a fixed table."""

    class Fixed(LazyGroup):
        def table(self) -> Table:
            return table

    return Fixed
