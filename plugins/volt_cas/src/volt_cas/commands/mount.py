"""``volt cas mount`` and ``umount``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volt_cas.binding import mount_tree, unmount_tree
from volt_cas.commands.arguments import RefName
from volt_cas.commands.words import find_digest
from volt_core.cli.messages import say
from volt_core.cli.options import AsJson, some_path
from volt_core.cli.render import print_json
from volt_core.cli.session import volt_of


def mount(
    ctx: typer.Context,
    name: RefName,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where; it must exist.", show_default=False, parser=some_path)
    ],
    as_json: AsJson = False,
) -> None:
    """Mount a stored tree read-only; needs root.

    Nothing is copied. The mount takes no set-uid bits and no devices from the tree, and nobody can write through it.
    While it lasts, a ref below use/mount/ keeps the tree.
    """
    store = volt_of(ctx).store
    mounted = mount_tree(store, find_digest(store, name), directory)
    if as_json:
        print_json("cas-mount", mounted)
    else:
        say(f"Mounted read-only; 'volt cas umount {directory}' ends it.")


def umount(
    ctx: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where it is.", show_default=False, parser=some_path)
    ],
    as_json: AsJson = False,
) -> None:
    """Unmount a tree that 'volt cas mount' mounted, and let go of it.

    Where it was unmounted otherwise, or the machine was started anew, this or the next gc drops the ref.
    """
    mounted = unmount_tree(volt_of(ctx).store, directory)
    if as_json:
        print_json("cas-umount", mounted)
