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
        data: its content, until it is written.
        metadata: encoded as in a record, and empty for records.
        digest: empty for an object that may be stored already: then it is found out when the file is written.
        replaces: it takes the place of something damaged.
    """

    __slots__ = ("data", "digest", "metadata", "replaces")

    def __init__(self, data: bytes, metadata: bytes, digest: bytes = b"", *, replaces: bool = False) -> None:
        self.data = data
        self.metadata = metadata
        self.digest = digest
        self.replaces = replaces


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
            if file.digest:
                item.is_new, item.replaces = True, file.replaces
                ffi.memmove(item.digest, file.digest, len(file.digest))
        _check(self._native.lib.volt_stage_files(self._staging, number, items, len(files)))
        for item, file in zip(items, files, strict=True):
            file.data = b""
            if not file.digest:
                file.digest = bytes(ffi.buffer(item.digest))

    def counts(self) -> tuple[int, int]:
        """Return how many objects were new, of those that came without a digest, and how many bytes these have."""
        objects, byte_count = self._native.ffi.new("uint64_t *"), self._native.ffi.new("uint64_t *")
        self._native.lib.volt_staging_counts(self._staging, objects, byte_count)
        return objects[0], byte_count[0]


def publish(native: CImplementation, staging_fd: int, store_fd: int) -> None:
    """Move what was staged in the numbered directories to where it belongs; what is there already stays."""
    _check(native.lib.volt_publish(staging_fd, store_fd, count_threads()))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
