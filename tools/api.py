#!/usr/bin/env python3
"""The public API as text, one promise a line, to be compared with what was promised before.

    tools/api.py                # prints it
    tools/api.py --write        # adds what is new to tests/compat/VERSION/api.txt; refuses to take lines away
    tools/api.py --write --drop # takes them away: before that version is released, or as docs/hooks.md says

A line that is gone is a plugin that may be broken, so the file only grows while ``volt_core.API_VERSION`` stays what it
is. Annotations are text, so each Python gives the same lines.
"""

from __future__ import annotations

import argparse
import enum
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from volt_core import API_VERSION
from volt_core.plugins.manager import SPECS

_ADDRESS = re.compile("(?: object)? at 0x[0-9a-f]+")
ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / f"tests/compat/{API_VERSION[0]}.{API_VERSION[1]}/api.txt"
PUBLIC = (
    "volt_core",
    "volt_core.api",
    "volt_core.contracts",
    "volt_core.errors",
    "volt_core.fs",
    "volt_core.hookspecs",
    "volt_core.images.archive",
    "volt_core.images.records",
    "volt_core.loglines",
    "volt_core.models.extension",
    "volt_core.models.image",
    "volt_core.models.mount",
    "volt_core.models.network",
    "volt_core.models.outcome",
    "volt_core.models.resources",
    "volt_core.models.signals",
    "volt_core.models.workload",
    "volt_core.names",
    "volt_core.paths",
    "volt_core.run",
    "volt_core.state",
    "volt_core.supervisor.backend",
    "volt_core.cli.entry",
    "volt_core.cli.exits",
    "volt_core.cli.lazy",
    "volt_core.cli.messages",
    "volt_core.cli.options",
    "volt_core.cli.progress",
    "volt_core.cli.render",
    "volt_core.cli.session",
)
"""What a plugin may import; ``docs/hooks.md`` lists them, too. All else may change with any release."""


def lines() -> list[str]:
    """Return all promises, sorted."""
    found = [line for name in PUBLIC for line in _module(importlib.import_module(name))]
    for spec in SPECS:
        hooks = {name: value for name, value in vars(spec).items() if name.startswith("volt_")}
        found += [f"hook {name}{_signature(hook)}" for name, hook in hooks.items()]
    return sorted(set(found))


def _module(module: ModuleType) -> Iterator[str]:
    exported = getattr(module, "__all__", None)
    for name, value in vars(module).items():
        is_own = name in exported if exported else getattr(value, "__module__", module.__name__) == module.__name__
        if is_own and not name.startswith("_") and not inspect.ismodule(value):
            yield from _promise(f"{module.__name__}.{name}", value)


def _promise(path: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield from _class(path, value)
    elif inspect.isroutine(value):
        yield f"function {path}{_signature(value)}"
    else:
        yield f"value {path}: {type(value).__name__}"


def _class(path: str, cls: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    yield f"class {path}({bases})"
    if issubclass(cls, enum.Enum):
        yield from (f"member {path}.{member.name} = {member.value!r}" for member in cls)
    if issubclass(cls, msgspec.Struct):
        defaults = cls.__struct_defaults__
        required = len(cls.__struct_fields__) - len(defaults)
        for name, default in zip(cls.__struct_fields__, (*[msgspec.NODEFAULT] * required, *defaults), strict=True):
            if annotation := vars(cls).get("__annotations__", {}).get(name):
                yield f"field {path}.{name}: {annotation}{'' if default is msgspec.NODEFAULT else ' = ...'}"
    elif issubclass(cls, tuple):
        yield from (f"field {path}.{name}" for name in cls._fields)
    else:
        for name, annotation in vars(cls).get("__annotations__", {}).items():
            if not name.startswith("_"):
                yield f"attribute {path}.{name}: {annotation}"
    abstract: frozenset[str] = getattr(cls, "__abstractmethods__", frozenset())
    for name, member in vars(cls).items():
        is_public = not name.startswith("_") or (
            name == "__init__" and not issubclass(cls, (msgspec.Struct, enum.Enum))
        )
        function = getattr(member, "__func__", getattr(member, "fget", None) or getattr(member, "func", member))
        if is_public and inspect.isfunction(function):
            kind = "abstract" if name in abstract else "property" if not callable(member) else "method"
            yield f"{kind} {path}.{name}{_signature(function)}"


def _signature(function: Any) -> str:
    return _ADDRESS.sub("", str(inspect.signature(function)))


def main() -> int:
    """Print, or record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"record them in {RECORD.relative_to(ROOT)}")
    parser.add_argument("--drop", action="store_true", help="with --write, also take lines away")
    arguments = parser.parse_args()
    present = lines()
    if not arguments.write:
        print("\n".join(present))
        return 0
    gone = sorted(set(RECORD.read_text().splitlines()) - set(present)) if RECORD.exists() else []
    if gone and not arguments.drop:
        sys.stderr.write("These would be taken from plugins:\n" + "".join(f"  {line}\n" for line in gone))
        return 1
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text("\n".join(present) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
