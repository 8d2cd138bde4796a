"""The commands of ``volt cas``, and where they are: data only."""

from __future__ import annotations

from typing import Final

from volt_core.cli.entry import FLAG, Entry, Plain

_M = "volt_cas.commands"
_JSON: Final = {"--json": FLAG}

TABLE: Final = {
    "build": Entry(
        f"{_M}.content:build",
        "Store a directory as a tree.",
        plain=Plain(f"{_M}.direct:build", ("path",), {"--ref": "text", **_JSON}),
    ),
    "checkout": Entry(
        f"{_M}.content:checkout",
        "Make a stored tree on disk.",
        plain=Plain(
            f"{_M}.direct:checkout", ("text", "path"), {"--reflink": FLAG, "--copy": FLAG, "--link": FLAG, **_JSON}
        ),
    ),
    "ls": Entry(f"{_M}.look:list_", "List what a stored tree holds."),
    "show": Entry(f"{_M}.look:show", "Print a ref, a tree or an entry as JSON."),
    "cat": Entry(f"{_M}.look:cat", "Write the content of a file to stdout."),
    "diff": Entry(f"{_M}.diff:diff", "Show what differs between two trees."),
    "mount": Entry(f"{_M}.mount:mount", "Mount a stored tree read-only."),
    "umount": Entry(f"{_M}.mount:umount", "Unmount it."),
    "tag": Entry(f"{_M}.names:tag", "Give a tree one more name."),
    "rm": Entry(f"{_M}.names:rm", "Drop names of trees."),
    "log": Entry(f"{_M}.names:log", "Show the values that a ref has had."),
    "undo": Entry(f"{_M}.names:undo", "Set a ref to its previous value."),
    "status": Entry(f"{_M}.care:status", "Show what the store holds."),
    "df": Entry(f"{_M}.care:df", "Show the room that the store takes."),
    "verify": Entry(
        f"{_M}.care:verify",
        "Read everything and compare it with its digest.",
        plain=Plain(f"{_M}.direct:verify", (), _JSON),
    ),
    "gc": Entry(
        f"{_M}.care:gc",
        "Remove what no ref reaches.",
        plain=Plain(f"{_M}.direct:gc", (), {"--dry-run": FLAG, "--grace": "seconds", **_JSON}),
    ),
}
