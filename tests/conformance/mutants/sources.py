"""Image sources and compose sections that break one promise each."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from volt_core.contracts import FetchedImage, ImageRequest, MtimePolicy, Progress, Ref, Store
from volt_core.errors import ComposeError, InvalidName
from volt_core.models.workload import Workload
from volt_core.testing.fake_sources import DIRECTORY, ProgramSection, TarSource


class ImageWithoutConfiguration(TarSource):
    BREAKS = "I-3"

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        fetched = super().fetch(request, ref, store, progress)
        store.set_ref(msgspec.structs.replace(ref, digest=fetched.result.digest, kind="image"))
        return fetched


class KeepsTimes(TarSource):
    BREAKS = "I-3"

    def fetch(self, request: ImageRequest, *args: Any) -> FetchedImage:
        return super().fetch(msgspec.structs.replace(request, mtime=MtimePolicy.KEEP), *args)


class DropsTheRefFirst(TarSource):
    BREAKS = "I-4"

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        if store.find_ref(ref.name):
            store.delete_ref(ref.name)
        return super().fetch(request, ref, store, progress)


class OpensAnything(TarSource):
    BREAKS = "I-5"

    def fetch(self, request: ImageRequest, *args: Any) -> FetchedImage:
        Path(os.environ[DIRECTORY], request.reference).stat()
        return super().fetch(request, *args)


class LeavesADownload(TarSource):
    BREAKS = "I-6"

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        store.path.parent.mkdir(exist_ok=True)
        (store.path.parent / "download").touch()
        return super().fetch(request, ref, store, progress)


class TakesAnyField(ProgramSection):
    BREAKS = "C-1"
    MODEL = dict  # type: ignore[assignment]


class ForgetsTheProject(ProgramSection):
    BREAKS = "C-2"

    def plan(self, project: str, entries: Mapping[str, Any]) -> Sequence[Workload]:
        return super().plan("volt", entries)


class NewIdsEachTime(ProgramSection):
    BREAKS = "C-3"

    def plan(self, project: str, entries: Mapping[str, Any]) -> Sequence[Workload]:
        planned = super().plan(project, entries)
        return [msgspec.structs.replace(workload, id=uuid.uuid4().hex) for workload in planned]


class LetsNamesPass(ProgramSection):
    BREAKS = "C-4"

    def plan(self, project: str, entries: Mapping[str, Any]) -> Sequence[Workload]:
        try:
            return super().plan(project, entries)
        except ComposeError as error:
            raise InvalidName(error.brief) from error
