"""Writing what is staged from memory, and moving it to where it belongs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from volt_core.native.extension import CImplementation
from volt_core.native.jobs import count_threads
from volt_core.native.owner import OwnerStruct


class StagedFile(NamedTuple):
    """A new file; `path` has two components. `metadata` is encoded as in a record, and empty for records."""

    path: str
    data: bytes
    metadata: bytes


def stage_files(
    native: CImplementation, staging_fd: int, number: int, owner: OwnerStruct, files: Sequence[StagedFile]
) -> None:
    """Write files into the staging directory of thread `number`, which is above 0. Raises :class:`OSError`."""
    ffi = native.ffi
    paths = [ffi.from_buffer(file.path.encode() + b"\0") for file in files]
    items = ffi.new("struct volt_staged_file[]", len(files))
    for item, path, file in zip(items, paths, files, strict=True):
        item.path = ffi.cast("const char *", path)
        item.data = ffi.cast("const unsigned char *", ffi.from_buffer(file.data))
        item.size = len(file.data)
        if file.metadata:
            item.metadata = ffi.cast("const unsigned char *", ffi.from_buffer(file.metadata))
            item.metadata_size = len(file.metadata)
    _check(native.lib.volt_stage_files(staging_fd, number, owner.pointer, items, len(files)))


def publish(native: CImplementation, staging_fd: int, store_fd: int) -> None:
    """Move what was staged in the numbered directories to where it belongs; what is there already stays."""
    _check(native.lib.volt_publish(staging_fd, store_fd, count_threads()))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
