"""The files of a container that shares the host's network: copies, since a bind would let it write the host's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from volt_core import fs

_FOLDER: Final = "etc"
_HOSTS: Final = "127.0.0.1\tlocalhost\n::1\tlocalhost\n"


def write_network_files(folder: Path, hostname: str) -> dict[str, Path]:
    """Make them anew in the workload's `folder`; return where each lies, by its path in the container."""
    contents = {
        "resolv.conf": _read("/etc/resolv.conf"),
        "hosts": f"{_read('/etc/hosts') or _HOSTS}127.0.1.1\t{hostname}\n",
        "hostname": f"{hostname}\n",
    }
    (folder / _FOLDER).mkdir(exist_ok=True)
    for name, content in contents.items():
        _replace(folder / _FOLDER / name, content)
    return {f"/etc/{name}": folder / _FOLDER / name for name in contents}


def _replace(path: Path, content: str) -> None:
    """Make the file anew: a container may have put a link to the host, or a directory, in its place."""
    if path.is_dir() and not path.is_symlink():
        fs.remove_tree(path)
    fs.write_atomic(path, content.encode("utf-8", "surrogateescape"), durable=False)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
