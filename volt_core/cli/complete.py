"""Shell completion; answers without typer, pluggy or any plugin, from the tables and the index file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

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
    from volt_core.cli import tables

    plain = [word for word in before if not word.startswith("-")]
    if not plain:
        return [name for name, entry in tables.TOP.items() if not entry.hidden]
    group = tables.GROUPS.get(plain[0])
    if group is not None and len(plain) == 1:
        return group
    verb = plain[1] if group is not None else plain[0]
    return _workload_names() if verb in tables.VERBS or verb == "rm" else []


def _workload_names() -> list[str]:
    """Return the names in the index; it may lag behind, which completion can bear."""
    from volt_core.paths import VoltPaths

    try:
        index = json.loads(Path(VoltPaths.find().index).read_bytes())
        return [entry["name"] for entry in index["workloads"]]
    except (OSError, ValueError, KeyError):
        return []
