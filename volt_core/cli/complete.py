"""Shell completion; answers without typer, pluggy or any plugin, from the tables and the index file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from volt_core.cli import tables

_TAKE_WORKLOADS = frozenset(entry.target for entry in tables.VERBS.values())
SCRIPTS: Final = {
    "bash": """\
_volt() {
    local IFS=$'\\n'
    COMPREPLY=($(volt __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _volt volt
""",
    "zsh": """\
#compdef volt
_volt() {
    local -a found
    found=("${(@f)$(volt __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -a found
}
compdef _volt volt
""",
    "fish": """\
complete -c volt -f -a '(volt __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}


def complete(words: Sequence[str]) -> None:
    """Print what the last of `words` could become, one candidate a line."""
    start = words[-1] if words else ""
    for candidate in candidates(words[:-1]):
        if candidate.startswith(start):
            sys.stdout.write(candidate + "\n")


def candidates(before: Sequence[str]) -> Iterable[str]:
    """Return what can follow the words `before`."""
    plain, root = _parse(before)
    if not plain:
        return [name for name, entry in tables.TOP.items() if not entry.hidden]
    group = tables.GROUPS.get(plain[0])
    if group is not None and len(plain) == 1:
        return group
    if plain == ["completion"]:
        return SCRIPTS
    entry = tables.TOP.get(plain[0]) if group is None else group.get(plain[1])
    # Not by the verb's name: 'image delete' is another command than 'delete'.
    if entry is None or entry.target not in _TAKE_WORKLOADS:
        return []
    return [name for name in _workload_names(root) if name not in plain]


def _parse(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the words that are no options, and the value of ``--root``."""
    plain: list[str] = []
    root = None
    rest = iter(words)
    for word in rest:
        if word == "--root":
            root = next(rest, None)
        elif word.startswith("--root="):
            root = word.removeprefix("--root=")
        elif not word.startswith("-"):
            plain.append(word)
    return plain, root


def _workload_names(root: str | None) -> list[str]:
    """Return the names in the index; it may lag behind, which completion can bear."""
    from volt_core.errors import VoltError
    from volt_core.paths import VoltPaths

    try:
        index = json.loads(VoltPaths.find(root).index.read_bytes())
        return [entry["name"] for entry in index["workloads"]]
    except (OSError, ValueError, KeyError, TypeError, VoltError):
        return []
