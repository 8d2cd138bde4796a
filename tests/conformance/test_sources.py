"""Image sources and compose sections keep their contracts; with that, the short kits have been run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from volt_core.contracts import ImageSource
from volt_core.images.bootstrap import BootstrapSource
from volt_core.testing.fake_sources import DIRECTORY, ProgramSection, TarSource
from volt_core.testing.samples import tar_of
from volt_core.testing.section_kit import ComposeSectionKit
from volt_core.testing.source_kit import ImageSourceKit


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


class TestSection(ComposeSectionKit):
    section_class = ProgramSection
    entries = {"web": {"command": ["httpd", "-f"]}, "cron": {"command": ["crond"]}}  # noqa: RUF012 -- as a plugin has it
    refused = {"no command": {"command": []}}  # noqa: RUF012
