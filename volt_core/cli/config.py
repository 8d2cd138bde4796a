"""``volt config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volt_core.cli.messages import warn
from volt_core.cli.options import AsJson
from volt_core.cli.render import print_json, print_table
from volt_core.cli.session import volt_of
from volt_core.config import change
from volt_core.errors import VoltError
from volt_core.paths import VoltPaths

Key = Annotated[str, typer.Argument(help="A setting.", show_default=False)]
Origin = Annotated[bool, typer.Option("--origin", help="Also print where the value comes from.")]
System = Annotated[bool, typer.Option("--system", help="Change the system's file instead of your own.")]


def get(ctx: typer.Context, key: Key, origin: Origin = False) -> None:
    """Print the effective value of a setting."""
    setting = volt_of(ctx).config.setting(key)
    print(f"{setting.value}\t{setting.origin}" if origin else setting.value)


def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Print all settings and where their values come from."""
    settings = volt_of(ctx).config.settings()
    if as_json:
        print_json("settings", settings)
    else:
        rows = ((setting.name, str(setting.value), setting.origin) for setting in settings)
        print_table(("SETTING", "VALUE", "ORIGIN"), rows)


def set_(
    ctx: typer.Context,
    key: Key,
    value: Annotated[str, typer.Argument(help="Its value.", show_default=False)],
    system: System = False,
) -> None:
    """Write a setting to the configuration file."""
    change(_file(ctx, system), key, value)
    plugins = volt_of(ctx).plugins
    provided = {"backend": plugins.backend, "store": plugins.store}.get(key)
    if provided and value:
        try:
            provided(value)
        except VoltError as error:
            # Its plugin may be installed later.
            warn(f"{error.brief}; the setting is written all the same")


def unset(ctx: typer.Context, key: Key, system: System = False) -> None:
    """Take a setting out of the configuration file, so that the next layer's value holds."""
    change(_file(ctx, system), key, None)


def _file(ctx: typer.Context, system: bool) -> Path:
    return (VoltPaths.for_system() if system else volt_of(ctx).paths).config_file
