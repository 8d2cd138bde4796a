"""Conformance of an image source. A subclass gives the source, and says what it can fetch here and what it cannot::

    class TestMySource(ImageSourceKit):
        good = "1.0"
        broken = "damaged"

        @pytest.fixture
        def source(self, tmp_path, monkeypatch): ...    # an instance, and what it fetches from

The numbers in the names of the cases are those of ``docs/source-contract.md``.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from volt_core.contracts import FetchedImage, ImageRequest, ImageSource, MtimePolicy, Ref, Store
from volt_core.errors import NotFoundError, UsageError, VoltError
from volt_core.images import records
from volt_core.names import check_name
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.phases import Phases

REFERENCES = ("", "../etc", "/etc", "-x", "--help", "a\nb", "a b", "$(id)", "x" * 5000, "\N{SNOWMAN}", "\udcff")
"""What a user may type behind the scheme, and what no source has."""


class ImageSourceKit:
    """All promises of the contract."""

    good: ClassVar[str]
    """A reference that the source can fetch on any host."""
    broken: ClassVar[str] = ""
    """One that it begins to fetch and cannot; empty if there is no such thing."""

    @pytest.fixture
    def source(self) -> ImageSource:
        """The source under test."""
        pytest.fail("a kit needs a fixture 'source' in its subclass", pytrace=False)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """An empty store."""
        return MemoryStore(tmp_path / "instance/store")

    def fetch(self, source: ImageSource, store: Store, reference: str, **options: Any) -> FetchedImage:
        """Fetch as the core does."""
        request = ImageRequest(scheme=source.SCHEMES[0], reference=reference, **options)
        return source.fetch(request, Ref(name="images/kit:1", digest=""), store, Phases())

    def test_i1_name_and_schemes_can_be_used(self, source: ImageSource) -> None:
        assert check_name(source.NAME)
        assert source.SCHEMES
        assert all(re.match(r"[a-z][a-z0-9+.-]*\Z", scheme) for scheme in source.SCHEMES)
        assert type(source)().SCHEMES == source.SCHEMES, "the core makes an instance for each command"

    def test_i2_probe_answers_quickly(self, source: ImageSource, tmp_path: Path) -> None:
        before = sorted(tmp_path.rglob("*"))
        begin = time.monotonic()
        probe = source.probe()
        assert time.monotonic() - begin < 1
        assert probe.available or (probe.reason and probe.hint)
        assert sorted(tmp_path.rglob("*")) == before

    def test_i3_the_tree_is_in_the_store_under_the_ref(self, source: ImageSource, store: Store) -> None:
        fetched = self.fetch(source, store, self.good)
        ref = store.find_ref("images/kit:1")
        assert ref is not None
        assert ref.digest == fetched.result.digest
        assert next(iter(store.entries(ref.digest))).path == b""
        assert [it.name for it in store.refs()] == ["images/kit:1"]

    def test_i3_the_image_knows_how_to_run_and_where_it_is_from(self, source: ImageSource, store: Store) -> None:
        fetched = self.fetch(source, store, self.good)
        ref = store.find_ref("images/kit:1")
        assert ref is not None
        image = records.from_ref(ref)
        assert ref.kind == "image"
        assert (image.config, image.source) == (fetched.config, fetched.source)
        assert image.source
        assert image.config.cmd or image.config.entrypoint, "volt run IMAGE would have nothing to run"

    def test_i3_times_are_clamped_on_demand(self, source: ImageSource, store: Store) -> None:
        fetched = self.fetch(source, store, self.good, mtime=MtimePolicy.CLAMP)
        assert {entry.mtime_ns for entry in store.entries(fetched.result.digest)} == {0}

    def test_i3_progress_is_told(self, source: ImageSource, store: Store) -> None:
        phases = Phases()
        request = ImageRequest(scheme=source.SCHEMES[0], reference=self.good)
        source.fetch(request, Ref(name="images/kit:1", digest=""), store, phases)
        assert phases.phases

    def test_i3_fetched_again_the_ref_moves_on(self, source: ImageSource, store: Store) -> None:
        digests = {self.fetch(source, store, self.good, mtime=MtimePolicy.CLAMP).result.digest for _ in range(2)}
        ref = store.find_ref("images/kit:1")
        assert ref is not None
        assert ref.digest in digests

    def test_i4_a_failure_moves_no_ref(self, source: ImageSource, store: Store, tmp_path: Path) -> None:
        if not self.broken:
            pytest.skip("nothing that this source fetches can be broken")
        (tmp_path / "other").mkdir()
        digest = store.put_directory(tmp_path / "other", ref=Ref(name="images/kit:1", digest="")).digest
        with pytest.raises(VoltError):
            self.fetch(source, store, self.broken)
        assert [(ref.name, ref.digest) for ref in store.refs()] == [("images/kit:1", digest)]
        assert store.verify().damaged == ()

    @pytest.mark.parametrize("reference", REFERENCES)
    def test_i5_a_reference_is_text_that_a_user_typed(
        self, source: ImageSource, store: Store, tmp_path: Path, reference: str
    ) -> None:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises((UsageError, NotFoundError)):
            self.fetch(source, store, reference)
        assert list(store.refs()) == []
        assert sorted(tmp_path.rglob("*")) == before

    def test_i6_nothing_is_left_beside_the_store(self, source: ImageSource, store: Store) -> None:
        self.fetch(source, store, self.good)
        if self.broken:
            with pytest.raises(VoltError):
                self.fetch(source, store, self.broken)
        folder = store.path.parent
        left = [path for path in folder.iterdir() if path != store.path] if folder.exists() else []
        assert left == []
