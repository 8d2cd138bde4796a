"""Locks: who waits, who does not, and what a dead holder leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from volt_core import fs, run
from volt_core.errors import Locked

HOLDER = """
import sys, time
from pathlib import Path
from volt_core import fs
with fs.lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""
COUNTER = """
import sys
from pathlib import Path
from volt_core import fs
lock, counter = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(50):
    with fs.lock(lock):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_a_held_lock_is_refused_in_time_and_says_what_is_locked(path: Path) -> None:
    begin = time.monotonic()
    with fs.lock(path), pytest.raises(Locked, match=r"container 'web'.*0\.2 s"):
        with fs.lock(path, timeout=0.2, what="container 'web'"):
            pytest.fail("two holders")
    assert 0.2 <= time.monotonic() - begin < 2


def test_without_time_it_answers_at_once(path: Path) -> None:
    with fs.lock(path, timeout=0):
        begin = time.monotonic()
        with pytest.raises(Locked), fs.lock(path, timeout=0):
            pytest.fail("two holders")
        assert time.monotonic() - begin < 0.2


def test_an_error_in_the_block_passes_and_releases(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), fs.lock(path):
        raise ZeroDivisionError
    with fs.lock(path, timeout=0):
        pass


def test_readers_share_and_keep_a_writer_out(path: Path) -> None:
    with fs.lock(path, shared=True), fs.lock(path, shared=True, timeout=0):
        with pytest.raises(Locked), fs.lock(path, timeout=0.05):
            pytest.fail("a writer beside readers")
    with fs.lock(path), pytest.raises(Locked), fs.lock(path, shared=True, timeout=0.05):
        pytest.fail("a reader beside a writer")


def test_who_waits_gets_it_when_it_is_free(path: Path) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with fs.lock(path, timeout=10):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with fs.lock(path):
            job = pool.submit(second)
            waiting.wait(5)
            time.sleep(0.05)
            order.append("first")
        job.result(10)
    assert order == ["first", "second"]


def test_a_holder_that_is_killed_holds_nothing(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked), fs.lock(path, timeout=0):
            pytest.fail("two holders")
        holder.kill()
    with fs.lock(path, timeout=0):
        pass


def test_processes_take_turns(path: Path, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    jobs = [subprocess.Popen([sys.executable, "-c", COUNTER, str(path), str(counter)]) for _ in range(3)]
    assert [job.wait(60) for job in jobs] == [0, 0, 0]
    assert counter.read_text() == "150"


def test_a_lock_on_a_file_that_was_removed_meanwhile_counts_for_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_lock, removed = fs._try_lock, []

    def between_open_and_lock(descriptor: int, operation: int) -> bool:
        if not removed:
            removed.append(os.fstat(descriptor).st_ino)
            os.unlink(path)
        return try_lock(descriptor, operation)

    monkeypatch.setattr(fs, "_try_lock", between_open_and_lock)
    with fs.lock(path, timeout=1):
        assert removed
        with pytest.raises(Locked), fs.lock(path, timeout=0):
            pytest.fail("two holders of one name")


def test_a_symlink_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), fs.lock(path):
        pytest.fail("locked what a symlink leads to")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.needs_root
def test_a_read_only_file_system_can_be_locked(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with fs.lock(disk / "old"):
        pass
    run.run(["mount", "--bind", str(disk), str(disk)], timeout=30)
    try:
        run.run(["mount", "-o", "remount,bind,ro", str(disk)], timeout=30)
        with fs.lock(disk / "old", shared=True), fs.lock(disk / "old", shared=True, timeout=0):
            # Another mount of it may be writable.
            with pytest.raises(Locked), fs.lock(disk / "old", timeout=0.05):
                pytest.fail("exclusive beside shared")
        with fs.lock(disk / "new", timeout=0), fs.lock(disk / "new", timeout=0):
            assert not (disk / "new").exists()
    finally:
        run.run(["umount", str(disk)], timeout=30)


@pytest.mark.needs_ordinary_user
def test_a_lock_file_that_may_only_be_read_can_be_shared(as_user: Callable[[list[str]], object]) -> None:
    script = """
from pathlib import Path
from volt_core import fs
path = Path("lock")
path.touch(0o444)
with fs.lock(path, shared=True), fs.lock(path, shared=True):
    pass
try:
    with fs.lock(path):
        raise SystemExit("may not be written, and is locked")
except PermissionError:
    pass
"""
    as_user([sys.executable, "-c", script])
