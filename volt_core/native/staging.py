"""Writing what is staged from memory, and moving it to where it belongs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from volt_core.native.extension import CImplementation
from volt_core.native.jobs import count_threads
from volt_core.native.owner import OwnerStruct


class StagedFile:
    """A new file.

    Attributes:
        path: where it is to be, two components; empty for an object that goes by its digest, unless it is stored.
        data: its content, until it is written.
        metadata: encoded as in a record, and empty for records.
        digest: of one without a path, as soon as it is written.
    """

    __slots__ = ("data", "digest", "metadata", "path")

    def __init__(self, path: str, data: bytes, metadata: bytes) -> None:
        self.path = path
        self.data = data
        self.metadata = metadata
        self.digest = b""


class Staging:
    """What one run stages from memory; the descriptors stay the caller's, and must live as long."""

    def __init__(self, native: CImplementation, store_fd: int, staging_fd: int, owner: OwnerStruct) -> None:
        self._native = native
        self._owner = owner  # the extension has a pointer to it
        made = native.ffi.new("struct volt_staging **")
        _check(native.lib.volt_staging_new(store_fd, staging_fd, owner.pointer, made))
        self._staging: Any = native.ffi.gc(made[0], native.lib.volt_staging_free)

    def write(self, number: int, files: Sequence[StagedFile]) -> None:
        """Write files into the staging directory of thread `number`, which is above 0. Raises :class:`OSError`.

        May be called by several threads.
        """
        ffi = self._native.ffi
        items = ffi.new("struct volt_staged_file[]", len(files))
        held = []
        for item, file in zip(items, files, strict=True):
            data = item.data = ffi.from_buffer("unsigned char[]", file.data)
            item.size = len(file.data)
            held.append(data)
            if file.metadata:
                metadata = item.metadata = ffi.from_buffer("unsigned char[]", file.metadata)
                item.metadata_size = len(file.metadata)
                held.append(metadata)
            if file.path:
                path = item.path = ffi.new("char[]", file.path.encode())
                held.append(path)
        _check(self._native.lib.volt_stage_files(self._staging, number, items, len(files)))
        for item, file in zip(items, files, strict=True):
            file.data = b""
            if not file.path:
                file.digest = bytes(ffi.buffer(item.digest))

    def counts(self) -> tuple[int, int]:
        """Return how many objects were new, of those that go by their digest, and how many bytes these have."""
        objects, byte_count = self._native.ffi.new("uint64_t *"), self._native.ffi.new("uint64_t *")
        self._native.lib.volt_staging_counts(self._staging, objects, byte_count)
        return objects[0], byte_count[0]


def publish(native: CImplementation, staging_fd: int, store_fd: int) -> None:
    """Move what was staged in the numbered directories to where it belongs; what is there already stays."""
    _check(native.lib.volt_publish(staging_fd, store_fd, count_threads()))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
