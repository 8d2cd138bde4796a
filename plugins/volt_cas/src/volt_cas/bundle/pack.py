"""What becomes of a member's bytes in a bundle: stored, or deflated where that pays.

Only ZIP's first method, since every unpacker knows it. The rule looks at nothing but the content, so that the same
content is the same bytes wherever zlib is the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

from volt_cas.bundle import format as form
from volt_core.contracts import Compression

_CHUNK = 1024 * 1024
_PROBE = 64 * 1024
_TINY = 128  # bytes; less is not worth a try
_LEVELS = {Compression.AUTO: 1, Compression.MAX: 9}


class Piece(NamedTuple):
    """A member's bytes as they are in the file."""

    method: int
    crc: int
    data: bytes


Parts = Callable[[IO[bytes]], Iterator[tuple[bytes, bytes]]]
"""Gives the pieces of a large member from its open file: what is written, and what it was made from."""


class Packer:
    """Decides and compresses."""

    def __init__(self, compression: Compression) -> None:
        self._level = _LEVELS.get(compression, 0)
        self.compresses = self._level > 0

    def pack(self, data: bytes) -> Piece:
        """Return small content as it is written."""
        crc = zlib.crc32(data)
        if self._is_worth_a_try(data[: _PROBE + 1], len(data)):
            packed = zlib.compress(data, self._level, -zlib.MAX_WBITS)
            if self._pays(len(packed), len(data)):
                return Piece(form.DEFLATED, crc, packed)
        return Piece(form.STORED, crc, data)

    def measure(self, file: IO[bytes], size: int) -> tuple[form.Stored, Parts]:
        """Return how large content will be written, from where `file` stands, and what gives its parts then."""
        start = file.read(_PROBE + 1)
        file.seek(0)
        if self._is_worth_a_try(start, size):
            crc = packed = 0
            for data, raw in self._deflated(file):
                crc = zlib.crc32(raw, crc)
                packed += len(data)
            if self._pays(packed, size):
                return form.Stored(form.DEFLATED, crc, packed), self._deflated
            return form.Stored(form.STORED, crc, size), _as_it_is
        crc = 0
        for _, raw in _as_it_is(file):
            crc = zlib.crc32(raw, crc)
        return form.Stored(form.STORED, crc, size), _as_it_is

    def _is_worth_a_try(self, start: bytes, size: int) -> bool:
        if not self.compresses or size < _TINY:
            return False
        if self._level > 1 or size <= _PROBE:
            return True
        probe = start[:_PROBE]
        return self._pays(len(zlib.compress(probe, self._level, -zlib.MAX_WBITS)), len(probe))

    def _pays(self, packed: int, size: int) -> bool:
        """Tell whether it is a sixteenth smaller; with the highest level, whether it is smaller at all."""
        return packed < size if self._level > 1 else packed <= size - size // 16 - 1

    def _deflated(self, file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
        packer = zlib.compressobj(self._level, zlib.DEFLATED, -zlib.MAX_WBITS)
        while raw := file.read(_CHUNK):
            yield packer.compress(raw), raw
        yield packer.flush(), b""


def _as_it_is(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    while raw := file.read(_CHUNK):
        yield raw, raw
