"""Verification of a store by the extension: see ``csrc/verify.c`` and ``csrc/compare.c``.

The twins are with the store, in :mod:`volt_cas.verify` and :mod:`volt_cas.links`.
"""

import enum
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from volt_core.native import jobs
from volt_core.native.extension import CImplementation


class Difference(enum.IntEnum):
    """In what a linked checkout differs from its tree; as ``enum volt_difference``."""

    OTHER = 1
    MISSING = 2
    EXTRA = 3


class Damage(NamedTuple):
    """A file that is not what its name says, or cannot be read: then `error` is the reason."""

    path: str
    """Below the store."""
    error: OSError | None


class Verification:
    """What is in a store, hashed.

    Attributes:
        objects, records: how many there are.
        byte_count: of objects and variants.
        is_whole: all that records name is there, of the right size and kind, and nothing lies too deep.
        damaged: sorted by path.
    """

    def __init__(
        self, native: CImplementation, store_fd: int, begin: Callable[[int], None], advance: jobs.Advance
    ) -> None:
        """Hash everything; `begin` is told how many bytes that is, before `advance` is called.

        :raises OSError: if a folder cannot be listed, or memory runs out; not for a single file
        """
        self._native = native
        lib, ffi = native.lib, native.ffi
        out, failed = ffi.new("struct volt_verification **"), ffi.new("char **")
        running: list[Any] = []
        has_begun = False

        def call(job: Any) -> int:
            running.append(job)
            return int(lib.volt_verify(store_fd, jobs.count_threads(), job, out, failed))

        def tell(byte_count: int, file_count: int) -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                begin(running[0].total)
            advance(byte_count, file_count)

        jobs.run(native, call, tell, failed=failed)
        if not has_begun:
            begin(0)
        self._all = ffi.gc(out[0], lib.volt_verification_free)
        found = lib.volt_verification_result(self._all)
        self.objects: int = found.objects
        self.records: int = found.records
        self.byte_count: int = found.bytes
        self.is_whole: bool = found.is_whole
        self.damaged = _damage(ffi, found)

    def sizes(self) -> Iterator[tuple[bytes, int]]:
        """Yield the digest and the size of each object."""
        return ((digest, size) for digest, size, _ in self._files(variants=False))

    def inodes(self) -> Iterator[tuple[int, bytes]]:
        """Yield the inode number of each object and variant, and the digest in its name."""
        for variants in (False, True):
            yield from ((inode, digest) for digest, _, inode in self._files(variants=variants))

    def _files(self, *, variants: bool) -> Iterator[tuple[bytes, int, int]]:
        ffi, count = self._native.ffi, self._native.ffi.new("size_t *")
        layout = struct.Struct("=32sQQ8x")  # struct volt_stored
        for prefix in range(256):
            files = self._native.lib.volt_verification_files(self._all, variants, prefix, count)
            if count[0]:
                yield from layout.iter_unpack(ffi.buffer(files, count[0] * layout.size))

    def compare(
        self, store_fd: int, links_fd: int, digests: Sequence[bytes]
    ) -> dict[bytes, tuple[Difference | OSError, bytes]]:
        """Return the first difference of each linked checkout that differs from its tree, with the path in it.

        `links_fd` is that of ``links/``. Of a tree whose records cannot be read, nothing is said.
        """
        lib, ffi = self._native.lib, self._native.ffi
        out, size = ffi.new("unsigned char **"), ffi.new("size_t *")
        joined = b"".join(digests)
        threads = max(1, min(jobs.count_threads(), len(digests)))

        def call(job: Any) -> int:
            args = store_fd, links_fd, joined, len(digests), threads, job, out, size
            return int(lib.volt_compare(self._all, *args))

        jobs.run(self._native, call)
        owned = ffi.gc(out[0], lib.volt_free)
        data = bytes(ffi.buffer(owned, size[0])) if owned else b""
        found: dict[bytes, tuple[Difference | OSError, bytes]] = {}
        at = 0
        while at < len(data):
            number, what = struct.unpack_from("=Ii", data, at)
            end = data.index(0, at + 8)
            difference = Difference(what) if what > 0 else OSError(-what, os.strerror(-what))
            found[digests[number]] = difference, data[at + 8 : end]
            at = end + 1
        return found


def _damage(ffi: Any, found: Any) -> list[Damage]:
    data = bytes(ffi.buffer(found.damaged, found.damaged_size)) if found.damaged else b""
    damaged, at = [], 0
    while at < len(data):
        (code,) = struct.unpack_from("=i", data, at)
        end = data.index(0, at + 4)
        damaged.append(Damage(data[at + 4 : end].decode(), OSError(-code, os.strerror(-code)) if code else None))
        at = end + 1
    return sorted(damaged, key=lambda damage: damage.path)
