"""The checkout of a whole tree in one call. Its twin is in the store, and makes what is left here."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from volt_core.contracts import CheckoutMode
from volt_core.native import jobs
from volt_core.native.extension import CImplementation
from volt_core.native.owner import Owner, OwnerStruct

Left = dict[bytes, "Left | None"]
"""Names of entries that are still to be made; a directory that is there but not finished has what is left in it.

None stands for all there is: the entry itself, or everything in a directory, which exists.
"""


class CheckoutReport(NamedTuple):
    """What was made, and of owners, devices and attributes what could not be.

    `left` has the root by the name ``b""``, unless nothing is left.
    """

    files: int
    bytes: int
    linked: int
    reflinked: int
    foreign_owners: int
    devices: int
    refused_xattrs: tuple[str, ...]
    left: Left


def fill_tree(
    native: CImplementation,
    store_fd: int,
    root_fd: int,
    digest: bytes,
    *,
    mode: CheckoutMode,
    owner: Owner,
    grouped: Iterable[bytes],
    max_links: int | None,
    advance: jobs.Advance,
) -> CheckoutReport:
    """Fill the empty directory with the tree, as ``volt_checkout`` has it.

    `grouped` are the paths of all that has more names than one.

    :raises OSError: naming the path below the root, where it is about one
    """
    ffi, lib = native.ffi, native.lib
    owners = OwnerStruct(native, owner)
    names = b"".join(path + b"\0" for path in sorted(grouped))
    report, failed_path = ffi.new("struct volt_checkout_report *"), ffi.new("char **")
    modes = {
        CheckoutMode.LINK: lib.VOLT_CHECKOUT_LINK,
        CheckoutMode.AUTO: lib.VOLT_CHECKOUT_AUTO,
        CheckoutMode.REFLINK: lib.VOLT_CHECKOUT_REFLINK,
        CheckoutMode.COPY: lib.VOLT_CHECKOUT_COPY,
    }

    def call(job: object) -> int:
        result: int = lib.volt_checkout(
            store_fd,
            root_fd,
            digest,
            modes[mode],
            names,
            len(names),
            owners.pointer,
            max_links or 0,
            jobs.count_threads(),
            job,
            report,
            failed_path,
        )
        return result

    try:
        jobs.run(native, call, advance, failed=failed_path)
        return CheckoutReport(
            report.files,
            report.bytes,
            report.linked,
            report.reflinked,
            report.foreign_owners,
            report.devices,
            tuple(map(os.fsdecode, ffi.buffer(report.refused_xattrs, report.refused_xattrs_size)[:].split(b"\0")[:-1])),
            _parse(ffi.buffer(report.left, report.left_size)[:]) if report.left else {},
        )
    finally:
        for pointer in (report.refused_xattrs, report.left):
            lib.volt_free(pointer)


def _parse(data: bytes) -> Left:
    inside: list[Left] = [{}]
    for item in data.split(b"\0")[:-1]:
        kind, name = item[:1], item[1:]
        if kind == b"u":
            inside.pop()
        elif kind == b"d":
            directory: Left = {}
            inside[-1][name] = directory
            inside.append(directory)
        else:
            inside[-1][name] = None
    return inside[0]
