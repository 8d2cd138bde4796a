"""Garbage collection of a store by the extension: see ``csrc/mark.c`` and ``csrc/sweep.c``.

The twin is with the store, in :mod:`volt_cas.choosing`.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from volt_core.native import jobs
from volt_core.native.extension import CImplementation


class Choice:
    """What is to be removed from a store.

    Attributes:
        trees, objects, variants: how many.
        byte_count: of all of them.
        young: how many files, and trees with all that they reach, are kept only because of their age.
    """

    def __init__(
        self,
        native: CImplementation,
        store_fd: int,
        roots: Sequence[bytes],
        spared: Sequence[bytes],
        limit: float,
        lost: Mapping[int, int],
    ) -> None:
        """Choose; nothing is removed. ``volt_choose`` in ``csrc/volt_native.cdef.h`` says what the arguments are.

        :raises OSError: with a path below the store if a folder cannot be listed or a file not be looked at; without
            one if what a root reaches is damaged, or memory runs out
        """
        self._native = native
        lib, ffi = native.lib, native.ffi
        out, failed = ffi.new("struct volt_choice **"), ffi.new("char **")
        names = ffi.new("struct volt_lost[]", sorted(lost.items()))
        joined = b"".join(roots), b"".join(spared)

        def call(job: Any) -> int:
            trees = joined[0], len(roots), joined[1], len(spared)
            args = limit, names, len(lost), jobs.count_threads(), job, out, failed
            return int(lib.volt_choose(store_fd, *trees, *args))

        jobs.run(native, call, failed=failed)
        self._all = ffi.gc(out[0], lib.volt_choice_free)
        self._found = lib.volt_choice_result(self._all)
        self.trees: int = self._found.n_records
        self.objects: int = self._found.n_objects
        self.variants: int = self._found.n_variants
        self.byte_count: int = self._found.bytes
        self.young: int = self._found.young

    def tree_rows(self) -> Iterator[tuple[bytes, int]]:
        """Yield digest and size of each record, top records first."""
        return self._rows(self._found.records, self.trees)

    def object_rows(self) -> Iterator[tuple[bytes, int]]:
        """Yield digest and size of each object."""
        return self._rows(self._found.objects, self.objects)

    def variant_rows(self) -> Iterator[tuple[str, int]]:
        """Yield name, put together, and size of each variant."""
        data = bytes(self._native.ffi.buffer(self._found.variants, self._found.variants_size)) if self.variants else b""
        at = 0
        while at < len(data):
            (size,) = struct.unpack_from("=Q", data, at)
            end = data.index(0, at + 8)
            yield data[at + 8 : end].decode(), size
            at = end + 1

    def _rows(self, rows: Any, count: int) -> Iterator[tuple[bytes, int]]:
        # The buffer is the choice's own, which lives as long as the generator that refers to it.
        yield from struct.iter_unpack("=32sQ", self._native.ffi.buffer(rows, count * 40) if count else b"")

    def remove(self) -> None:
        """Remove it, users before what they use.

        :raises OSError: with a path below the store
        """
        lib, failed = self._native.lib, self._native.ffi.new("char **")
        jobs.run(
            self._native, lambda job: int(lib.volt_sweep(self._all, jobs.count_threads(), job, failed)), failed=failed
        )
