"""What one call of the command line shares between its parts."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from volt_core.api import Volt
from volt_core.cli.messages import warn

if TYPE_CHECKING:
    import typer


class Session:
    """Holds the instance that the global options mean; it is opened when first used."""

    def __init__(self, root: str | None) -> None:
        self._root = root
        self.flags: dict[str, object] = {}

    @functools.cached_property
    def volt(self) -> Volt:
        """The instance."""
        return Volt(self._root, flags=self.flags)

    def close(self) -> None:
        """Warn of plugins that failed in a hook: the command itself has not."""
        for fault in self.volt.plugins.faults if "volt" in vars(self) and "plugins" in vars(self.volt) else ():
            warn(f"Plugin '{fault.info.name}' of {fault.info.origin}: {fault.reason}, going on without it.")


def volt_of(ctx: typer.Context, **flags: object) -> Volt:
    """Return the instance that a command works on; `flags` are settings from its options, None if not given."""
    session: Session = ctx.ensure_object(Session) if ctx.obj is None else ctx.obj
    session.flags.update(flags)
    return session.volt
