"""The supervisor's files: what is written finds room, and the folder has one holder at a time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from volt_core.errors import WrongState
from volt_core.models.outcome import Outcome
from volt_core.supervisor.model import LOCK_FILE, OUTCOME_FILE, RECORD_FILE
from volt_core.supervisor.place import OUTCOMES, RECORDS, Place
from volt_core.testing.host import loop_mounted


def fill(ballast: Path) -> None:
    """Write until the disk is full, and then to the last byte."""
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


@pytest.mark.needs_loop_mount
def test_record_and_outcome_find_room_on_a_disk_that_the_payload_fills_at_once() -> None:
    with loop_mounted("ext4", 8) as disk:
        place = Place(disk)
        place.make_room("id")
        fill(disk / "ballast")
        place.write_record(os.getpid(), 1, "invocation")
        assert RECORDS.read(disk / RECORD_FILE).payload_pid == os.getpid()
        fill(disk / "more")
        place.leave(Outcome(code=3))
        assert OUTCOMES.read(disk / OUTCOME_FILE).code == 3


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.make_room("id")
    with pytest.raises(WrongState):
        Place(tmp_path)
    place.leave(Outcome(code=0))
    assert (tmp_path / LOCK_FILE).stat().st_size == 0
    Place(tmp_path).leave(Outcome(code=0))
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_FILE, OUTCOME_FILE}
