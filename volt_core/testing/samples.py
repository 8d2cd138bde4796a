"""Small trees and archives for the store kit; :mod:`.trees` has the large and awkward ones."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

SAMPLE_TIME = 1_700_000_000_123_456_789


def make_sample(root: Path, *, backwards: bool = False) -> Path:
    """Make a tree with one of each thing that needs no root; always the same one."""
    makers: list[Callable[[], object]] = [
        lambda: (root / "etc/hello").write_bytes(b"hello\n"),
        lambda: (root / "etc/copy").write_bytes(b"hello\n"),
        lambda: (root / "bin/tool").write_bytes(b"tool"),
        lambda: (root / "bin/link").symlink_to("/etc/hello"),
        lambda: os.mkfifo(root / "fifo"),
        lambda: Path(os.fsdecode(os.fsencode(root) + b"/deep/\xff\n")).write_bytes(b"x"),
        lambda: (root / "deep/er/empty").write_bytes(b""),
    ]
    for name in ("etc", "bin", "closed", "deep/er"):
        (root / name).mkdir(parents=True)
    for make in reversed(makers) if backwards else makers:
        make()
    os.link(root / "bin/tool", root / "deep/er/same tool")
    modes = {"etc/hello": 0o640, "etc/copy": 0o600, "bin/tool": 0o4755, "fifo": 0o600, "deep/er/empty": 0o444}
    for name, mode in modes.items():
        (root / name).chmod(mode)
    if backwards:
        # Which of the names came first must not show.
        os.rename(root / "bin/tool", root / "bin/.tool")
        os.link(root / "deep/er/same tool", root / "bin/tool")
        os.unlink(root / "bin/.tool")
    for above, folders, files in os.walk(os.fsencode(root), topdown=False):
        for entry in files + folders:
            os.utime(os.path.join(above, entry), ns=(SAMPLE_TIME, SAMPLE_TIME), follow_symlinks=False)
    os.utime(root, ns=(SAMPLE_TIME, SAMPLE_TIME))
    for directory in (root, *(path for path in root.rglob("*") if path.is_dir())):
        directory.chmod(0o755)
    (root / "closed").chmod(0o555)
    return root


def one_way(data: bytes) -> BinaryIO:
    """Return a stream that can be read once, front to back, in pieces, as a pipe gives them."""
    return cast("BinaryIO", _OneWay(data))


class _OneWay(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(size if 0 <= size < 4000 else 4000)


def tar_of(fill: Callable[[tarfile.TarFile], object]) -> bytes:
    """Return a pax archive with what `fill` adds."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        fill(archive)
    return out.getvalue()


def hostile_tars() -> dict[str, bytes]:
    """Return archives that a store must refuse, by what is wrong with them."""

    def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        return info

    archives = {
        "dotdot": [member("a/../../escape")],
        "absolute": [member("/etc/escape")],
        "through-link": [member("link", tarfile.SYMTYPE, "/etc"), member("link/escape")],
        "through-file": [member("file"), member("file/below")],
        "hardlink": [member("link", tarfile.LNKTYPE, "etc/passwd")],
    }
    tars = {
        name: tar_of(lambda tar, members=members: [tar.addfile(info) for info in members])  # type: ignore[misc]
        for name, members in archives.items()
    }
    big = member("big")
    big.size = 100_000
    tars["truncated"] = tar_of(lambda tar: tar.addfile(big, cast("BinaryIO", io.BytesIO(bytes(big.size)))))[:50_000]
    return tars


SAMPLE_CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: _keeping_time(root / "etc/hello", lambda path: path.write_bytes(b"jello\n")),
    "mode": lambda root: (root / "closed").chmod(0o550),
    "mtime": lambda root: os.utime(root / "etc/hello", ns=(0, SAMPLE_TIME + 1)),
    "name": lambda root: _keeping_time(root / "etc", lambda path: (path / "copy").rename(path / "copied")),
    "target": lambda root: _keeping_time(root / "bin", lambda path: _replace_link(path / "link")),
    "hardlink": lambda root: _keeping_time(root / "bin", lambda path: _part(path / "tool")),
    "type": lambda root: _keeping_time(root, lambda path: _replace_fifo(path / "fifo")),
}


def _keeping_time(path: Path, change: Callable[[Path], object]) -> None:
    before = path.stat().st_mtime_ns
    change(path)
    os.utime(path, ns=(before, before))


def _replace_link(path: Path) -> None:
    before = path.lstat().st_mtime_ns
    path.unlink()
    path.symlink_to("/etc/copy")
    os.utime(path, ns=(before, before), follow_symlinks=False)


def _replace_fifo(path: Path) -> None:
    before = path.stat().st_mtime_ns
    path.unlink()
    path.touch(0o600)
    os.utime(path, ns=(before, before))


def _part(path: Path) -> None:
    """Make a hard link a copy that differs in nothing else."""
    info = path.stat()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    path.chmod(stat.S_IMODE(info.st_mode))
    os.utime(path, ns=(info.st_mtime_ns, info.st_mtime_ns))
