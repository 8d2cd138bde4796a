"""The calls of ``csrc/``, through cffi."""

import importlib
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from volt_core.native.model import DIGEST_SIZE, WalkEntry, join, os_error


class CImplementation:
    """The extension module. Making it raises ImportError where that was not built."""

    NAME: Literal["c"] = "c"
    # struct volt_walk_record
    RECORD = struct.Struct("=4q4Q8I")

    def __init__(self) -> None:
        module = importlib.import_module("volt_core._native")
        self.lib: Any = module.lib
        self.ffi: Any = module.ffi

    def walk(self, root_fd: int, *, one_file_system: bool = False) -> Iterator[WalkEntry]:
        records = self._records(root_fd, one_file_system)
        path, ends = b"", [0]  # ends[depth]: length of the innermost path of that depth
        at, end = 0, len(records)
        unpack, header_size, make = self.RECORD.unpack_from, self.RECORD.size, WalkEntry._make
        while at < end:
            header = unpack(records, at)
            size, mtime, ctime, blocks, dev, ino, nlink, rdev = header[:8]
            mtime_nsec, ctime_nsec, mode, uid, gid, depth, name_size, _ = header[8:]
            at += header_size
            if depth:
                path = join(path[: ends[depth - 1]], records[at : at + name_size])
                ends[depth:] = [len(path)]
            at += -(-name_size // 8) * 8  # padded to a multiple of 8
            mtime_ns, ctime_ns = mtime * 10**9 + mtime_nsec, ctime * 10**9 + ctime_nsec
            yield make((path, mode, uid, gid, size, mtime_ns, ctime_ns, dev, ino, nlink, rdev, blocks))

    def _records(self, root_fd: int, one_file_system: bool) -> Any:
        records = self.ffi.new("unsigned char **")
        records_size = self.ffi.new("size_t *")
        failed_path = self.ffi.new("char **")
        result = self.lib.volt_walk(root_fd, one_file_system, records, records_size, failed_path)
        if result < 0:
            failed = self.ffi.gc(failed_path[0], self.lib.volt_free)
            raise os_error(-result, self.ffi.string(failed) if failed else b"")
        owned = self.ffi.gc(records[0], self.lib.volt_free, records_size[0])
        return self.ffi.buffer(owned, records_size[0])

    def hash_file(self, fd: int) -> tuple[bytes, int]:
        digest = self.ffi.new("unsigned char[]", DIGEST_SIZE)
        size = self.ffi.new("uint64_t *")
        result = self.lib.volt_hash_file(fd, digest, size)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return bytes(self.ffi.buffer(digest)), size[0]

    def hash_files(self, root_fd: int, paths: Sequence[bytes], *, threads: int) -> list[bytes | OSError]:
        sizes = self.ffi.new("size_t[]", [len(path) for path in paths])
        digests = self.ffi.new("unsigned char[]", DIGEST_SIZE * len(paths))
        errors = self.ffi.new("int[]", len(paths))
        joined = b"\0".join(paths)  # cffi passes the NUL that ends a bytes object, too
        result = self.lib.volt_hash_files(root_fd, joined, sizes, len(paths), threads, digests, errors)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        view = self.ffi.buffer(digests)
        return [
            os_error(-error, path) if error else view[i * DIGEST_SIZE : (i + 1) * DIGEST_SIZE]
            for i, (path, error) in enumerate(zip(paths, errors, strict=True))
        ]
