"""An image source and a compose section in their shortest forms: what the kits for them are tried on."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from volt_core.contracts import ComposeSection, FetchedImage, ImageRequest, ImageSource, Probe, Progress, Ref, Store
from volt_core.errors import ComposeError, InvalidName, NotFoundError, UsageError
from volt_core.images import records
from volt_core.images.archive import open_archive, open_tar_stream
from volt_core.models.image import ImageConfig
from volt_core.models.workload import Kind, ServiceSpec, Workload
from volt_core.names import shown

DIRECTORY = "VOLT_TEST_ARCHIVES"
"""Names the directory of the archives."""


class TarSource(ImageSource):
    """Archives in a directory, in their shortest form."""

    NAME = "tars"
    SCHEMES = ("tars",)

    def probe(self) -> Probe:
        return Probe.yes()

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        if not re.match(r"[0-9a-z][0-9a-z.]{0,99}\Z", request.reference):
            raise UsageError(f"Invalid release {shown(request.reference)}")
        path = Path(os.environ[DIRECTORY], f"{request.reference}.tar")
        if not path.exists():
            raise NotFoundError(f"There is no release {shown(request.reference)}")
        progress.begin(f"fetching {request.reference}")
        with open_archive(str(path)) as file, open_tar_stream(file) as stream:
            result = store.put_tar(stream, mtime=request.mtime, progress=progress)
        config = ImageConfig(cmd=("/bin/sh",))
        store.set_ref(records.complete(ref, result, config, str(path)))
        return FetchedImage(result=result, config=config, source=str(path))


class Program(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the section."""

    command: tuple[str, ...]


class ProgramSection(ComposeSection):
    """Programs as services, in its shortest form."""

    KEY = "programs"
    MODEL = Program

    def plan(self, project: str, entries: Mapping[str, Any]) -> Sequence[Workload]:
        return [self._workload(project, name, entry) for name, entry in sorted(entries.items())]

    def _workload(self, project: str, name: str, entry: Program) -> Workload:
        if not entry.command:
            raise ComposeError(f"{shown(name)} has no command")
        try:
            return Workload(
                name=f"{project}-{name}",
                id=hashlib.sha256(f"{project}/{name}".encode()).hexdigest()[:32],
                kind=Kind.SERVICE,
                backend="any",
                spec=ServiceSpec(command=entry.command),
                created=0,
            )
        except InvalidName as error:
            raise ComposeError(f"{shown(name)} has no usable name") from error
