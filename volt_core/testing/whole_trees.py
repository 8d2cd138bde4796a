"""What stores of whole trees share: a tree is one list of entries, and its digest that of the list's encoding."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from volt_core.contracts import (
    CheckoutMode,
    Entry,
    EntryType,
    MtimePolicy,
    Progress,
    PutResult,
    Ref,
    RefChange,
    RefSpace,
)
from volt_core.errors import StoreError
from volt_core.names import DIGEST_PREFIX

encode_tree = msgspec.msgpack.Encoder(order="deterministic").encode
decode_tree = msgspec.msgpack.Decoder(list[Entry]).decode

Objects = dict[str, bytes]


def digest_of(data: bytes) -> str:
    """Return the address of these bytes."""
    return DIGEST_PREFIX + hashlib.sha256(data).hexdigest()


def prepare(
    found: Iterable[tuple[Entry, bytes]], mtime: MtimePolicy, progress: Progress
) -> tuple[list[Entry], Objects]:
    """Return the entries as they are kept, and the contents of the files by digest."""
    progress.begin("store")
    entries: list[Entry] = []
    objects: Objects = {}
    for entry, data in sorted(found, key=lambda pair: pair[0].path.split(b"/")):
        if entry.type is EntryType.FILE:
            entry = msgspec.structs.replace(entry, digest=digest_of(data), size=len(data))
            objects[entry.digest] = data
            progress.advance(len(data), 1)
        if mtime is MtimePolicy.CLAMP:
            entry = msgspec.structs.replace(entry, mtime_ns=0)
        entries.append(entry)
    return entries, objects


def put_result(digest: str, entries: Sequence[Entry], new: Objects, notes: Sequence[str]) -> PutResult:
    """Return what a put answers; `new` are the contents that were not there."""
    files = [entry for entry in entries if entry.type is EntryType.FILE]
    return PutResult(
        digest=digest,
        files=len(files),
        bytes=sum(entry.size for entry in files),
        new_objects=len(new),
        new_bytes=sum(map(len, new.values())),
        notes=tuple(notes),
    )


def contents_of(entries: Iterable[Entry]) -> dict[str, int]:
    """Return the digests of the files, with their sizes."""
    return {entry.digest: entry.size for entry in entries if entry.type is EntryType.FILE}


def is_changed(old: Ref | None, new: Ref) -> bool:
    """Tell whether setting the ref is a change that is logged."""
    return old is None or (old.digest, old.kind, old.meta) != (new.digest, new.kind, new.meta)


def former(log: Sequence[RefChange], present: str, count: int) -> set[str]:
    """Return the digests of the newest former values, as many as `count`."""
    found = dict.fromkeys(change.digest for change in reversed(log) if change.digest)
    found.pop(present, None)
    return {digest for digest in itertools.islice(found, count) if digest}


def shares(refs: Iterable[Ref], tree: Callable[[str], Sequence[Entry]]) -> tuple[RefSpace, ...]:
    """Return what each ref reaches, and what it alone does."""
    reached = [(ref, contents_of(tree(ref.digest))) for ref in refs]
    counts = Counter(digest for _, contents in reached for digest in contents)
    return tuple(
        RefSpace(
            name=ref.name,
            digest=ref.digest,
            bytes=sum(contents.values()),
            unique_bytes=sum(size for digest, size in contents.items() if counts[digest] == 1),
        )
        for ref, contents in reached
    )


def check_mode(mode: CheckoutMode) -> None:
    """Refuse to reflink: stores of whole trees copy, whatever else they are asked for."""
    if mode is CheckoutMode.REFLINK:
        raise StoreError("Cannot reflink: this store only copies", hint="Choose another mode.")
