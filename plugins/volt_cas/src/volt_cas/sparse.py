"""Files with holes: aligned blocks of zeros are not written, and holes are not read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

PIECE = 1024 * 1024
"""Bytes that are in memory at a time."""
_BLOCK = 4096
_ZEROS = bytes(_BLOCK)


def write_sparse(descriptor: int, data: bytes, offset: int) -> None:
    """Write `data` at `offset` of a fresh file, leaving out aligned blocks of zeros; the caller sets the size."""
    view = memoryview(data)
    start: int | None = None
    position = 0
    while position < len(data):
        length = min(_BLOCK - (offset + position) % _BLOCK, len(data) - position)
        block = data[position : position + length]
        if block == _ZEROS[:length]:
            if start is not None:
                _write_all(descriptor, view[start:position], offset + start)
                start = None
        elif start is None:
            start = position
        position += length
    if start is not None:
        _write_all(descriptor, view[start:], offset + start)


def copy_content(source: int, target: int, size: int, advance: Callable[[int], None] | None = None) -> None:
    """Copy an object into a fresh file, with its holes; `advance` is told of each piece of a large one."""
    told = 0
    if size <= PIECE:
        write_sparse(target, os.read(source, size), 0)
    else:
        for start, end in data_ranges(source, size):
            position = start
            while position < end and (data := os.pread(source, min(PIECE, end - position), position)):
                _write_all(target, memoryview(data), position)
                position += len(data)
                if advance:
                    advance(position - told)
                    told = position
    os.ftruncate(target, size)
    if advance:
        advance(size - told)


def data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the parts of a file that are no holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        if start < end:
            yield start, end


def _write_all(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written
