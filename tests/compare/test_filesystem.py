"""The place that is measured on: fresh each time, and gone afterwards, whatever still runs in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.compare import filesystem


@pytest.mark.needs_loop_mount
def test_an_image_is_mounted_for_the_block_and_goes_though_a_process_is_still_in_it(tmp_path):
    with filesystem.fresh("ext4", 64, below=tmp_path) as place:
        (place / "file").write_text("content")
        assert str(place) in Path("/proc/self/mountinfo").read_text()
        busy = subprocess.Popen(["sleep", "0.5"], cwd=place)
    assert str(place) not in Path("/proc/self/mountinfo").read_text()
    assert list(tmp_path.iterdir()) == []
    assert busy.wait(10) == 0


def test_a_directory_is_new_and_goes_with_what_is_in_it(tmp_path):
    with filesystem.fresh("directory", 64, below=tmp_path) as place:
        (place / "file").write_text("content")
    assert list(tmp_path.iterdir()) == []
    assert "DIRECTORY" in filesystem.where("directory")
