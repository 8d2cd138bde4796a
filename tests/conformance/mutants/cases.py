"""The tests that each mutant has to fail: the kits' cases of the promise that it breaks, and no others.

``test_mutants.py`` runs this file; pytest does not collect it by itself. A new module of mutants is named in MODULES.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import pytest

from volt_core.contracts import Backend, BackendContext, ImageSource, Ref
from volt_core.paths import VoltPaths
from volt_core.testing.backend_kit import BackendConformance
from volt_core.testing.fake_sources import DIRECTORY, ProgramSection, TarSource
from volt_core.testing.fakes import DummyContainer, FakeBackend, MemoryStore
from volt_core.testing.payloads import FakePayload
from volt_core.testing.promises import promises_of
from volt_core.testing.samples import tar_of
from volt_core.testing.section_kit import ComposeSectionKit
from volt_core.testing.source_kit import ImageSourceKit
from volt_core.testing.store_kit import StoreConformance
from volt_core.testing.workbench import IMAGE_REF

from . import commands, facets, lifecycle, logs, outcomes, sources, stores

MODULES = (lifecycle, outcomes, logs, commands, facets, stores, sources)


class ContainerKit(BackendConformance):
    """The kit for the fakes, with little patience: a mutant may not end at all."""

    PATIENCE = 2.0
    SURVIVES = False
    KNOWS_USERS = False
    payload = FakePayload()
    mutant: ClassVar[type[Backend]] = DummyContainer

    @pytest.fixture
    def backend(self, paths: VoltPaths) -> Backend:
        return self.mutant(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))

    @pytest.fixture
    def image(self, backend: Backend, tmp_path: Path) -> str:
        (tmp_path / "image/home").mkdir(parents=True)
        return backend.store.put_directory(tmp_path / "image", ref=Ref(name=IMAGE_REF, digest="")).digest


class MemoryKit(StoreConformance):
    """The kit for the store in memory."""

    store_class = MemoryStore

    def damage(self, store: MemoryStore, digest: str) -> None:
        store.damage(digest)

    def lose(self, store: MemoryStore, digest: str) -> None:
        store.lose(digest)


class TarKit(ImageSourceKit):
    """The kit for the source of archives."""

    good = "1.0"
    broken = "damaged"
    mutant: ClassVar[type[ImageSource]] = TarSource

    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageSource:
        archive = tar_of(lambda tar: tar.add(__file__, "file"))
        (tmp_path / "tars").mkdir()
        (tmp_path / "tars/1.0.tar").write_bytes(archive)
        (tmp_path / "tars/damaged.tar").write_bytes(archive[:700])
        monkeypatch.setenv(DIRECTORY, str(tmp_path / "tars"))
        return self.mutant()


class ProgramKit(ComposeSectionKit):
    """The kit for the section of programs."""

    section_class = ProgramSection
    entries: ClassVar[Any] = {"web": {"command": ["httpd", "-f"]}, "cron": {"command": ["crond"]}}
    refused: ClassVar[Any] = {"no command": {"command": []}}


def mutants_of(fake: type) -> list[Any]:
    """Return the classes of the modules that derive from a fake, but for those that others derive from."""
    classes = [
        it
        for module in MODULES
        for it in vars(module).values()
        if isinstance(it, type) and issubclass(it, fake) and it.__module__ == module.__name__
    ]
    return [it for it in classes if not it.__subclasses__()]


def cases_of(kit: type, promises: Collection[str], **attributes: Any) -> type:
    """Return a class with the cases of the kit that are about these promises."""
    others = [
        name
        for name in dir(kit)
        if name.startswith("test_") and not {it.number for it in promises_of(name)} & set(promises)
    ]
    return type(kit)("Kit", (kit,), {**dict.fromkeys(others), **attributes})


MUTANTS: list[str] = []
"""Names of the tests of mutants, and below of the fakes that are not broken, which pass the cases of all promises."""
UNBROKEN: list[str] = []

for _kit, _fake, _attribute in (
    (ContainerKit, FakeBackend, "mutant"),
    (MemoryKit, MemoryStore, "store_class"),
    (TarKit, TarSource, "mutant"),
    (ProgramKit, ProgramSection, "section_class"),
):
    _mutants = mutants_of(_fake)
    for _mutant in _mutants:
        MUTANTS.append(f"Test{_mutant.__name__}")
        globals()[MUTANTS[-1]] = cases_of(_kit, {_mutant.BREAKS}, **{_attribute: _mutant})
    UNBROKEN.append(f"TestUnbroken{_kit.__name__}")
    globals()[UNBROKEN[-1]] = cases_of(_kit, {mutant.BREAKS for mutant in _mutants})
