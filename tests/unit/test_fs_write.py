"""Atomic writes: a reader, a kill and a full disk each see the old or the new."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from volt_core import fs

OLD, NEW = b"o" * 300_000, b"n" * 500_000
WRITER = """
import sys
from pathlib import Path
from volt_core import fs
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for content in (b"o" * 300_000, b"n" * 500_000):
        fs.write_atomic(path, content)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.json"


@pytest.fixture(autouse=True)
def _folder(file: Path) -> None:
    file.parent.mkdir()


def test_content_and_mode_are_set_whatever_the_umask(file: Path) -> None:
    before = os.umask(0o077)
    try:
        fs.write_atomic(file, b"new", mode=0o644)
    finally:
        os.umask(before)
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    fs.write_atomic(file, b"", mode=0o600)
    assert file.read_bytes() == b""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_a_symlink_is_replaced_and_not_followed(file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"victim")
    file.symlink_to(victim)
    fs.write_atomic(file, b"new")
    assert victim.read_bytes() == b"victim"
    assert not file.is_symlink()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(file: Path) -> None:
    fs.write_atomic(file, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            fs.write_atomic(file, NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_reader_never_sees_a_mixture(file: Path) -> None:
    fs.write_atomic(file, OLD)
    done = threading.Event()

    def write() -> None:
        for _ in range(20):
            fs.write_atomic(file, NEW)
            fs.write_atomic(file, OLD)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(write)
        while not done.is_set() and not job.done():
            assert file.read_bytes() in (OLD, NEW)
        job.result()


def test_writers_at_once_leave_one_of_theirs(file: Path) -> None:
    contents = [bytes([65 + number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: fs.write_atomic(file, content), contents))
    assert file.read_bytes() in contents
    assert list(file.parent.iterdir()) == [file]


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(file: Path) -> None:
    for attempt in range(12):
        fs.write_atomic(file, OLD)
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.0011 * attempt)
            process.kill()
        assert file.read_bytes() in (OLD, NEW)
        fs.write_atomic(file, b"goes on")
        assert file.read_bytes() == b"goes on"


def test_what_a_killed_writer_left_can_be_removed(file: Path) -> None:
    others = [file.with_name(name) for name in (file.name, f"{file.name}.tmp", f".{file.name}2.1.2.tmp")]
    for other in others:
        other.write_text("kept")
    child = os.fork()
    if child == 0:
        sys.addaudithook(lambda event, _: os.kill(os.getpid(), signal.SIGKILL) if event == "os.rename" else None)
        fs.write_atomic(file, b"new")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(list(file.parent.iterdir())) == len(others) + 1
    fs.remove_unfinished(file)
    assert sorted(file.parent.iterdir()) == sorted(others)
    fs.remove_unfinished(file.parent / "nowhere" / "file")


def test_removing_a_file_that_is_not_there_is_success(file: Path) -> None:
    file.write_text("there")
    assert fs.remove_file(file)
    assert not fs.remove_file(file)
    file.symlink_to("nowhere")
    assert fs.remove_file(file)
    assert list(file.parent.iterdir()) == []


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fs.write_atomic(tmp_path / "no" / "file", b"x")
