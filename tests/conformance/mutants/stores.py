"""Stores that break one promise each."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from volt_core import fs
from volt_core.contracts import CheckoutResult, Entry, GcReport, PutResult, Ref, VerifyReport
from volt_core.errors import AlreadyExists, InvalidName, NotFoundError
from volt_core.testing.fakes import MemoryStore


class TreeMutant(MemoryStore):
    """Changes the entries that it puts."""

    BREAKS = "S-2"
    change: ClassVar[Callable[..., Entry]]

    def _put(self, found: Any, *args: Any) -> PutResult:
        return super()._put([(self.change(entry), data) for entry, data in found], *args)


class LosesAttributes(TreeMutant):
    change = staticmethod(lambda entry: msgspec.structs.replace(entry, xattrs={}))


class LosesModes(TreeMutant):
    change = staticmethod(lambda entry: msgspec.structs.replace(entry, mode=entry.mode & 0o777))


class RoundsTimes(TreeMutant):
    change = staticmethod(lambda entry: msgspec.structs.replace(entry, mtime_ns=entry.mtime_ns // 1000 * 1000))


class DigestHasAnOrder(TreeMutant):
    """Tells which file was made first."""

    oldest = b""

    def put_directory(self, source: Path, **options: Any) -> PutResult:
        self.oldest = min(os.scandir(os.fsencode(source / "etc")), key=lambda entry: entry.inode()).name
        return super().put_directory(source, **options)

    def change(self, entry: Entry) -> Entry:
        return entry if entry.path else msgspec.structs.replace(entry, xattrs={"user.oldest": self.oldest})


class CollectsWhatIsNeeded(MemoryStore):
    BREAKS = "S-15"

    def gc(self, *, dry_run: bool = False, grace: float = 3600.0, **options: Any) -> GcReport:
        report = super().gc(dry_run=dry_run, grace=grace, **options)
        if not dry_run and not grace:
            self._content.objects.pop(next(iter(self._content.objects), ""), None)
        return report


class CollectsWhatIsYoung(MemoryStore):
    BREAKS = "S-15"

    def gc(self, *, grace: float = 3600.0, **options: Any) -> GcReport:
        return super().gc(grace=0, **options)


class DryRunsRemove(MemoryStore):
    BREAKS = "S-15"

    def gc(self, *, dry_run: bool = False, **options: Any) -> GcReport:
        return msgspec.structs.replace(super().gc(**options), dry_run=dry_run)


class SeesNoDamage(MemoryStore):
    BREAKS = "S-14"

    def verify(self, **options: Any) -> VerifyReport:
        return msgspec.structs.replace(super().verify(**options), damaged=())


class ChecksOutOverAnything(MemoryStore):
    BREAKS = "S-5"

    def checkout(self, digest: str, destination: Path, **options: Any) -> CheckoutResult:
        with contextlib.suppress(AlreadyExists):
            return super().checkout(digest, destination, **options)
        fs.remove_tree(destination)
        return super().checkout(digest, destination, **options)


class MovesTheRefFirst(MemoryStore):
    BREAKS = "S-3"

    def put_tar(self, stream: Any, *, ref: Ref | None = None, **options: Any) -> PutResult:
        if ref is not None and self._content.trees:
            self.set_ref(msgspec.structs.replace(ref, digest=list(self._content.trees)[-1]))
        return super().put_tar(stream, ref=ref, **options)


class PointsNowhere(MemoryStore):
    BREAKS = "S-9"

    def set_ref(self, ref: Ref) -> None:
        self._content.trees.setdefault(ref.digest, b"\x90")
        super().set_ref(ref)


class TakesAnyName(MemoryStore):
    BREAKS = "S-9"

    def set_ref(self, ref: Ref) -> None:
        try:
            super().set_ref(ref)
        except InvalidName:
            self._content.refs[ref.name] = ref


class ForgetsTheLog(MemoryStore):
    BREAKS = "S-13"

    def delete_ref(self, name: str) -> None:
        super().delete_ref(name)
        self._content.logs.pop(name)


class FollowsLinksOutside(MemoryStore):
    BREAKS = "S-8"

    def read_file(self, digest: str, path: bytes) -> bytes:
        with contextlib.suppress(NotFoundError):
            return super().read_file(digest, path)
        return (Path("/") / os.fsdecode(path).lstrip("./")).read_bytes()


class BundlesDifferEachTime(MemoryStore):
    BREAKS = "S-18"

    def _ref_for_bundle(self, name: str) -> Ref:
        ref = super()._ref_for_bundle(name)
        return msgspec.structs.replace(ref, meta={**ref.meta, "written": str(time.time_ns())})


class BundlesTheFirstAlone(MemoryStore):
    BREAKS = "S-18"

    def write_bundle(self, stream: Any, refs: Sequence[str], **options: Any) -> Any:
        return super().write_bundle(stream, list(refs)[:1], **options)
