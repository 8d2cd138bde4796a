"""Interpreters of the versions that are promised, if a machine has them: on PATH, or beside each other with pyenv."""

from __future__ import annotations

import functools
import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from volt_core import run
from volt_core.errors import VoltError

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
_PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")  # before HOME is another
_QUICK = 30.0


@functools.cache
def find(version: str) -> str | None:
    """Return the path of an interpreter of this version, like ``3.12``, that has what Volt needs, or None."""
    return next((str(path) for path in _candidates(f"python{version}") if _is_usable(path, version)), None)


def _candidates(name: str) -> Iterator[Path]:
    on_path = [Path(folder, name) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    # Not Path.is_file(), nor its glob(): they raise where a directory is closed to us.
    yield from (path for path in on_path if os.path.isfile(path))
    # A shim starts only what is chosen for the directory. Behind it, and beside this interpreter, are all.
    shims = [path.parent for path in on_path if path.parent.name == "shims"]
    for versions in (_PYENV / "versions", *(path.parent / "versions" for path in shims), Path(sys.base_prefix).parent):
        yield from map(Path, sorted(glob.glob(f"{glob.escape(str(versions))}/*/bin/{name}")))


def _is_usable(path: Path, version: str) -> bool:
    code = f"import ssl, sqlite3, sys; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
    try:
        run.run([str(path), "-c", code], timeout=_QUICK, cwd="/")
    except VoltError:
        return False
    return True
