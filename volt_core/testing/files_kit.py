"""Conformance of a backend: the files that a workload sees; see :mod:`.backend_kit`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from volt_core.models.workload import ContainerSpec, VmSpec, Workload
from volt_core.testing.workbench import GRACE, SHORT, BackendKit, Workbench

FILE = "/home/kit"
INSIDE = "/kit"


class BackendFilesKit(BackendKit):
    """The root file system is the workload's own; binds are the host's."""

    def test_b25_what_it_writes_is_there_for_its_next_run(self, bench: Workbench) -> None:
        self._needs_image(bench)
        workload = bench.create(self.payload.adds_to_file(FILE, "mine"))
        for lines in ([b"mine"], [b"mine"] * 3):
            assert self._ends(bench, workload)
            assert bench.lines(workload) == lines, "each run adds a line and prints all"
            bench.backend.stop(workload, GRACE)

    def test_b25_what_it_writes_no_other_sees(self, bench: Workbench) -> None:
        self._needs_image(bench)
        before = list(bench.backend.store.entries(bench.image))
        other = bench.create(self.payload.reads_file(FILE))
        self._ends(bench, bench.create(self.payload.adds_to_file(FILE, "mine")))
        assert not self._ends(bench, other), "it was created before the file was written"
        assert not self._ends(bench, bench.create(self.payload.reads_file(FILE))), "it was created later"
        assert list(bench.backend.store.entries(bench.image)) == before
        assert bench.backend.store.verify().damaged == ()

    def test_b25_what_it_writes_is_gone_with_it(self, bench: Workbench) -> None:
        self._needs_image(bench)
        workload = bench.create(self.payload.adds_to_file(FILE, "mine"))
        assert self._ends(bench, workload)
        bench.delete(workload)
        assert not self._ends(bench, bench.create(self.payload.reads_file(FILE), name=workload.name))

    def test_b25_a_bind_is_the_hosts_own(self, bench: Workbench, tmp_path: Path) -> None:
        source = self._source(bench, tmp_path)
        reader = bench.bind(self.payload.reads_file(f"{INSIDE}/given"), source, INSIDE)
        assert self._ends(bench, reader)
        assert bench.lines(reader) == [b"from the host"]
        assert self._ends(bench, bench.bind(self.payload.adds_to_file(f"{INSIDE}/made", "inside"), source, INSIDE))
        assert (source / "made").read_text() == "inside\n"

    def test_b25_a_bind_that_is_read_only_takes_nothing(self, bench: Workbench, tmp_path: Path) -> None:
        source = self._source(bench, tmp_path)
        for name in ("given", "made"):
            writer = bench.bind(self.payload.adds_to_file(f"{INSIDE}/{name}", "inside"), source, INSIDE, read_only=True)
            assert not self._ends(bench, writer)
        assert [path.name for path in source.iterdir()] == ["given"]
        assert (source / "given").read_text() == "from the host\n"
        reader = bench.bind(self.payload.reads_file(f"{INSIDE}/given"), source, INSIDE, read_only=True)
        assert self._ends(bench, reader)

    def test_b3_a_stop_ends_what_the_payload_left_behind(self, bench: Workbench, tmp_path: Path) -> None:
        source = self._source(bench, tmp_path)
        workload = bench.bind(self.payload.leaves_a_child(f"{INSIDE}/ticks"), source, INSIDE)
        bench.backend.start(workload)
        ticks = source / "ticks"
        bench.wait_for("the child's first line", lambda: ticks.exists() and ticks.stat().st_size)
        bench.backend.stop(workload, GRACE)
        size = ticks.stat().st_size
        time.sleep(SHORT)
        assert ticks.stat().st_size == size, "it goes on after the stop"

    def _ends(self, bench: Workbench, workload: Workload) -> bool:
        """Have it run to its end, and tell whether that was a success."""
        bench.backend.start(workload)
        return bench.backend.wait(workload, bench.patience).code == 0

    def _needs_image(self, bench: Workbench) -> None:
        if not isinstance(self.make_spec(bench.image, self.payload.sleeps()), ContainerSpec | VmSpec):
            pytest.skip("this kind of workload has no root of its own")

    def _source(self, bench: Workbench, tmp_path: Path) -> Path:
        """Return a directory of the host with one file."""
        if not isinstance(self.make_spec(bench.image, self.payload.sleeps()), ContainerSpec):
            pytest.skip("the specification of this kind has no mounts")
        source = tmp_path / "bound"
        source.mkdir()
        (source / "given").write_text("from the host\n")
        return source
