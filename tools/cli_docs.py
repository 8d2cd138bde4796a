"""Writes docs/cli.md from the commands themselves: ``python tools/cli_docs.py``; a test says when it is stale."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from volt_core import errors
from volt_core.cli import exits, tables
from volt_core.cli.entry import Entry, Table
from volt_core.cli.lazy import load_command
from volt_core.errors import VoltError
from volt_core.models.extension import CommandGroup
from volt_core.models.outcome import CANNOT_EXECUTE, COMMAND_NOT_FOUND, VOLT_FAILED

TARGET = Path(__file__).parents[1] / "docs" / "cli.md"
PLUGINS = TARGET.parents[1] / "plugins"
ONCE = {"container", "workload"}
"""Groups of commands that are described on their own."""

HEAD = """\
# The command line

This page is made from the commands by `tools/cli_docs.py`; change them, not it.

`volt [--root DIR] COMMAND …`. All verbs work on every kind of workload. They take several names, but for `exec` and
`shell`, which are about one; a name that fails does not keep the others, and the first failure decides the exit
code. Listings take `--json` (one document whose
`schema` says what it is) and `--quiet` (names alone). Results go to stdout; progress, warnings and errors to stderr;
there are no colours in a pipe, with `NO_COLOR`, or on a dumb terminal. `volt completion bash` (zsh, fish) prints a
script that completes commands and live names.

In `run`, `create` and `exec` options end at the first argument that is none: what follows belongs to the
command inside.

| variable | means |
|---|---|
| `VOLT_ROOT` | directory of an instance of its own, like `--root` |
| `VOLT_BACKEND`, `VOLT_STORE`, … | a setting, see `volt config list` |
| `VOLT_DISABLE_PLUGINS` | plugins to leave out, with commas between |
| `VOLT_TRACE_HOOKS` | print each call of a hook to stderr |
| `VOLT_SYSTEMD_TIMEOUT` | seconds that systemd and the system bus are given for an answer (25) |
| `VOLT_NATIVE` | `c` or `python`: which implementation to use |
| `VOLT_DEBUG` | show where an error of the operating system came from |
"""

CODES = f"""\
## Exit codes

| code | classes | meaning |
|---|---|---|
| 0 | | done |
{{table}}
| {VOLT_FAILED} | | of `run`, `exec` and `shell`: Volt itself failed, wrong options among it |
| {CANNOT_EXECUTE} | | of the same: the command cannot be executed |
| {COMMAND_NOT_FOUND} | | of the same: the command was not found |
| 129, 130, 143 | | ended by SIGHUP, Ctrl-C or SIGTERM, after clearing up |
| {exits.BROKEN_PIPE} | | whoever read the output has gone |

`run`, `exec` and `shell` otherwise end with the exit code of the command inside, or with 128 + n if signal n killed it.
`volt wait` prints the same numbers.
"""


def render() -> str:
    """Return the whole page."""
    parts = [HEAD, CODES.format(table="\n".join(exit_rows())), "## Commands\n", *describe_table("volt", tables.TOP)]
    for group, table in tables.GROUPS.items():
        if group in ONCE:
            names = ", ".join(f"`{name}`" for name in table)
            parts.append(f"## volt {group}\n\n{tables.TOP[group].help} It has {names}: as above.\n")
            if group == "container":
                parts += describe_table("volt container", {"list": table["list"]})
        elif group != "ps":
            parts += [f"## volt {group}\n", *describe_table(f"volt {group}", table)]
    for group in plugin_groups():
        parts.append(f"## volt {group.name}\n\n{group.help} It comes with a plugin.\n")
        loaded = load_command(group.name, Entry(group.target, group.help))
        parts += [describe(f"volt {group.name}", loaded.get_command(None, it)) for it in loaded.list_commands(None)]
    return "\n".join(parts)


def plugin_groups() -> Iterator[CommandGroup]:
    """Yield what the plugins of this repository add to the command line."""
    for path in sorted(PLUGINS.glob("*/src/*/plugin.py")):
        module = importlib.import_module(f"{path.parent.name}.plugin")
        if hasattr(module, "volt_register_commands"):
            yield from module.volt_register_commands()


def exit_rows() -> Iterator[str]:
    """Yield a row for each exit code of the error classes."""
    families = [VoltError, *VoltError.__subclasses__()]
    for family in sorted(families, key=lambda it: it.exit_code):
        members = [family] if family is VoltError else [family, *members_of(family)]
        names = ", ".join(f"`{member.__name__}`" for member in members)
        if family is VoltError:
            meaning = "Any other failure; also what the operating system refused: no permission, no room."
        else:
            meaning = (inspect.getdoc(family) or "").splitlines()[0]
        yield f"| {family.exit_code} | {names} | {meaning} |"


def members_of(family: type[VoltError]) -> Iterator[type[VoltError]]:
    """Yield the subclasses that the core defines, in order of name."""
    for member in sorted(family.__subclasses__(), key=lambda it: it.__name__):
        if member.__module__ == errors.__name__:
            yield member
            yield from members_of(member)


def describe_table(prefix: str, table: Table) -> Iterator[str]:
    """Yield the description of each command that is no group."""
    for name, entry in table.items():
        if name not in tables.GROUPS or name == "ps":
            if not entry.hidden:
                yield describe(prefix, load_command(name, entry))


def describe(prefix: str, command: Any) -> str:
    """Return heading, usage, text and options of one command."""
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option"]
    usage = " ".join([prefix, command.name, *["[OPTIONS]"] * bool(options), *map(metavar, arguments)])
    lines = [f"### {prefix} {command.name}", "", f"`{usage}`", "", inspect.cleandoc(command.help or ""), ""]
    rows = [f"| `{in_table(names_of(param))}` | {in_table(param.help)} |" for param in [*arguments, *options]]
    if rows:
        lines += ["| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def names_of(param: Any) -> str:
    """Return how an argument or an option is written."""
    if param.param_type_name == "argument":
        return metavar(param)
    names = ", ".join(sorted(param.opts, key=len))
    return names if param.is_flag else f"{names} {metavar(param)}"


def in_table(text: str) -> str:
    """Return text whose bars do not part columns."""
    return text.replace("|", "\\|")


def metavar(param: Any) -> str:
    """Return what stands for the value: not as the library writes it, which changes with its version."""
    name: str = param.metavar or param.name.rstrip("_").upper()
    optional = param.param_type_name == "argument" and not param.required and not name.startswith("[")
    return f"[{name}]" if optional else name


if __name__ == "__main__":
    TARGET.write_text(render())
