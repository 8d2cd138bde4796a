"""Writes the hooks into docs/hooks.md from their specs: ``python tools/hook_docs.py``; a test says when it is stale."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from volt_core.plugins.manager import SPECS

TARGET = Path(__file__).parents[1] / "docs" / "hooks.md"
BEGIN = "<!-- From here on made from the specs by tools/hook_docs.py; change them, not this. -->"
END = "<!-- To here. -->"

Hook = Callable[..., object]


def hooks() -> Iterator[Hook]:
    """Yield the specs, area by area in the order of the sources."""
    for module in SPECS:
        yield from (value for name, value in vars(module).items() if name.startswith("volt_"))


def render() -> str:
    """Return what stands between the two marks: a table of all, then each by itself."""
    names = ((it, ", ".join(f"`{name}`" for name in inspect.signature(it).parameters)) for it in hooks())
    rows = [f"| [`{it.__name__}`](#{it.__name__}) | {kind(it)} | {taken} | {since(it)} |" for it, taken in names]
    head = ["| hook | kind | arguments | since |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, "", *map(describe, hooks())])


def describe(hook: Hook) -> str:
    """Return the section of one hook."""
    text = re.sub(r"\n*\.\. versionadded:: .*", "", inspect.getdoc(hook) or "")
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return f"### {hook.__name__}\n\n`{hook.__name__}{signature(hook)}`\n\n{text}\n"


def kind(hook: Hook) -> str:
    """Return which kind of hook its docstring says that it is."""
    return found(r"(Collecting|Notifying|First-result) hook", hook).lower()


def since(hook: Hook) -> str:
    """Return the version of the plugin contract that has had it first."""
    return found(r"\.\. versionadded:: (\S+)", hook)


def found(pattern: str, hook: Hook) -> str:
    """Return what a docstring says. Raises ValueError if it does not."""
    match = re.search(pattern, hook.__doc__ or "")
    if match is None:
        raise ValueError(f"the docstring of {hook.__name__} has no {pattern}")
    return match[1]


def signature(hook: Hook) -> str:
    """Return arguments and result with their types, as they are written in the spec."""
    return str(inspect.signature(hook)).replace("'", "")


def renewed(page: str) -> str:
    """Return the page with the present specs. Raises ValueError if it lacks a mark."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{render()}\n{END}{after}"


if __name__ == "__main__":
    TARGET.write_text(renewed(TARGET.read_text()))
