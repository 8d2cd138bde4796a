"""The store that a new store begins with: a copy of the plain one that Volt's own tests use.

A store keeps two dozen promises, so a skeleton would be none, and its tests could not pass. A subclass would leave test
code (and pytest) in a product, and hide from its author what is to be replaced. A copy is whole, and the author's own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SOURCES: Final = Path(__file__).parents[1] / "testing"
_MODULES: Final = {
    "dir_store": "store",
    "dir_refs": "refs",
    "whole_store": "whole_store",
    "whole_trees": "whole_trees",
    "memory_tree": "directories",
    "memory_tar": "archives",
    "tree_diff": "differences",
}
"""Modules of the plain store, and what they are called in the copy."""
_ORIGIN: Final = "volt_core.testing"


def plain_store(name: str, package: str, class_name: str) -> Iterator[tuple[str, str]]:
    """Yield file name and text of each module of the copy."""
    words = {**_MODULES, "DirStore": class_name}
    pattern = re.compile(rf"\b({'|'.join(words)})\b")
    for module, called in _MODULES.items():
        source = (_SOURCES / f"{module}.py").read_text(encoding="utf-8")
        text = pattern.sub(lambda match: words[match[1]], _own_imports_last(source))
        yield f"{called}.py", text.replace(_ORIGIN, package).replace('NAME = "dir"', f'NAME = "{name}"')


def _own_imports_last(source: str) -> str:
    """Return a module whose imports of the others stand in a section of their own, as isort wants them in the copy."""
    lines = source.splitlines(keepends=True)
    imports = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    own = [node for node in imports if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_ORIGIN)]
    spans = [slice(node.lineno - 1, node.end_lineno) for node in own]
    moved = [line for span in spans for line in lines[span]]
    end = imports[-1].end_lineno or 0
    kept = [
        line for number, line in enumerate(lines[:end]) if not any(span.start <= number < span.stop for span in spans)
    ]
    return "".join([*kept, *(["\n"] if moved else []), *moved, *lines[end:]])
