"""Directories and files of the host that a workload sees."""

from __future__ import annotations

import posixpath
from typing import Self

import msgspec

from volt_core.errors import InvalidSpec
from volt_core.names import shown

_OPTIONS = {"ro": True, "rw": False}


def normal_path(path: str) -> str:
    """Return an absolute path in its shortest form; POSIX's own rule would keep two slashes at the beginning."""
    return "/" + posixpath.normpath(path).lstrip("/")


class Mount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A bind mount: `source` on the host, `target` inside, both absolute."""

    source: str
    target: str
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``SRC:DST[:ro|rw]`` as ``-v`` takes it. Raises :class:`InvalidSpec`."""
        parts = text.split(":")
        if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] not in _OPTIONS):
            raise InvalidSpec(f"Invalid mount {shown(text)}", hint="Write it as SRC:DST, SRC:DST:ro or SRC:DST:rw.")
        source, target = parts[0], parts[1]
        for path in (source, target):
            if not path.startswith("/") or "\0" in path:
                raise InvalidSpec(f"Mount {shown(text)} needs absolute paths", hint=f"{shown(path)} is not absolute.")
        target = normal_path(target)
        if target == "/":
            raise InvalidSpec(f"Mount {shown(text)} would cover the whole root", hint="Choose a directory below '/'.")
        return cls(
            source=normal_path(source),
            target=target,
            read_only=len(parts) == 3 and _OPTIONS[parts[2]],
        )

    def __str__(self) -> str:
        return f"{self.source}:{self.target}{':ro' if self.read_only else ''}"
