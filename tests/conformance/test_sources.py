"""Image sources and compose sections keep their contracts; with that, the short kits have been run."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from volt_core.contracts import ComposeSection, FetchedImage, ImageRequest, ImageSource, Probe, Progress, Ref, Store
from volt_core.errors import ComposeError, InvalidName, NotFoundError, UsageError
from volt_core.images import records
from volt_core.images.archive import open_archive, open_tar_stream
from volt_core.images.bootstrap import BootstrapSource
from volt_core.models.image import ImageConfig
from volt_core.models.workload import Kind, ServiceSpec, Workload
from volt_core.names import shown
from volt_core.testing.samples import tar_of
from volt_core.testing.section_kit import ComposeSectionKit
from volt_core.testing.source_kit import ImageSourceKit

DIRECTORY = "KIT_DIRECTORY"


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


class TestTarSource(ImageSourceKit):
    good = "1.0"
    broken = "damaged"

    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageSource:
        archive = tar_of(lambda tar: tar.add(__file__, "file"))
        (tmp_path / "tars").mkdir()
        (tmp_path / "tars/1.0.tar").write_bytes(archive)
        (tmp_path / "tars/damaged.tar").write_bytes(archive[:700])
        monkeypatch.setenv(DIRECTORY, str(tmp_path / "tars"))
        return TarSource()


class TestBootstrap(ImageSourceKit):
    """A script stands in for mmdebstrap: it fails after half of its work for one suite."""

    good = "bookworm"
    broken = "sid"

    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageSource:
        (tmp_path / "tools").mkdir()
        (tmp_path / "tools/image.tar").write_bytes(tar_of(lambda tar: tar.add(__file__, "file")))
        tool = tmp_path / "tools/mmdebstrap"
        tool.write_text(
            f'#!/bin/sh\ncase "$*" in *sid*) head -c 700 {tmp_path}/tools/image.tar; exit 1; esac\n'
            f"exec cat {tmp_path}/tools/image.tar\n"
        )
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/tools:{os.environ['PATH']}")
        return BootstrapSource()


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


class TestSection(ComposeSectionKit):
    section_class = ProgramSection
    entries = {"web": {"command": ["httpd", "-f"]}, "cron": {"command": ["crond"]}}  # noqa: RUF012 -- as a plugin has it
    refused = {"no command": {"command": []}}  # noqa: RUF012
