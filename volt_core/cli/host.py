"""``volt doctor``, ``volt info`` and ``volt completion``."""

from __future__ import annotations

from typing import Annotated

import typer

from volt_core import __version__, native
from volt_core.cli.complete import SCRIPTS
from volt_core.cli.exits import FAILURE, leave
from volt_core.cli.options import AsJson
from volt_core.cli.render import print_json
from volt_core.cli.session import volt_of
from volt_core.errors import UsageError, VoltError
from volt_core.models.extension import Verdict
from volt_core.models.workload import Kind

_MARKS = {Verdict.OK: "ok     ", Verdict.WARNING: "warning", Verdict.MISSING: "MISSING"}


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Check what this host can do, and say what to do about the rest. Ends with 1 if something is missing."""
    checks = volt_of(ctx).checks()
    if as_json:
        print_json("checks", checks)
    else:
        for check in checks:
            print(f"{_MARKS[check.verdict]}  {check.area}: {check.what}")
            if check.hint and check.verdict is not Verdict.OK:
                print(f"         {check.hint}")
    leave(FAILURE if any(check.verdict is Verdict.MISSING for check in checks) else 0)


def info(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show where this Volt keeps things and what it uses."""
    volt = volt_of(ctx)
    try:
        backend = volt.workloads.choose_backend(Kind.CONTAINER).NAME
    except VoltError as error:
        backend = f"none ({error})"
    facts = {
        "version": __version__,
        "native": native.implementation(),
        "backend": backend,
        "store": volt.config.values.store,
        "configuration": str(volt.paths.config_file),
        "state": str(volt.paths.lib),
        "runtime": str(volt.paths.run),
        "instance": volt.paths.instance,
    }
    if as_json:
        print_json("info", facts)
    else:
        for key, value in facts.items():
            print(f"{key + ':':<15}{value}")


def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.", show_default=False)],
) -> None:
    """Print the script that teaches a shell to complete volt's commands and names."""
    if shell not in SCRIPTS:
        raise UsageError(f"No completion for '{shell}'", hint=f"There is one for {', '.join(SCRIPTS)}.")
    print(SCRIPTS[shell], end="")
