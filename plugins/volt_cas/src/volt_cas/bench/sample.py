"""The data that is measured with: a small seeded tree, the same on every machine."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import NamedTuple

HALVES = ("first", "second")
_FILES_PER_DIRECTORY = 6
_MEDIAN, _SIGMA = 1800, 1.2
_LARGEST = 32 * 1024
_BLOCK = 1 << 20
_EPOCH = 1_600_000_000


class Sample(NamedTuple):
    """What was made."""

    files: int
    directories: int
    bytes: int
    contents: tuple[int, int]
    """Different contents in each half; no content is in both."""


def make_tree(target: Path, files: int, *, seed: int = 1) -> Sample:
    """Make two halves below `target`, small files of 3.3 KB on average as a distribution has them."""
    rng = random.Random(seed)  # noqa: S311 # data, no secret
    block = memoryview(rng.randbytes(_BLOCK))
    target.mkdir()
    total = directories = 0
    contents = []
    for number, half in enumerate(HALVES):
        count = files // 2 + (files % 2 if number else 0)
        folders = _make_folders(rng, target / half, max(1, count // _FILES_PER_DIRECTORY))
        directories += len(folders)
        contents.append(0)
        content = b""
        for file in range(count):
            is_equal = file % 20 == 19  # to the one before
            if not is_equal:
                size = max(16, min(_LARGEST, int(_MEDIAN * rng.lognormvariate(0, _SIGMA))))
                start = rng.randrange(_BLOCK - size)
                content = b"%15d\n" % (number * files + file) + block[start : start + size - 16]
                contents[-1] += 1
            path = os.path.join(rng.choice(folders), f"file-{file}")
            with open(path, "xb", buffering=0) as stream:
                stream.write(content)
            stamp = _EPOCH + rng.randrange(10**7)
            os.utime(path, (stamp, stamp))
            total += len(content)
    return Sample(files, directories, total, (contents[0], contents[1]))


def make_large_files(target: Path, count: int, size: int, *, seed: int = 1) -> list[bytes]:
    """Make files of `size` bytes each and return their names."""
    block = random.Random(seed).randbytes(_BLOCK)  # noqa: S311 # data, no secret
    target.mkdir()
    names = [b"large-%d" % number for number in range(count)]
    for name in names:
        with open(os.path.join(os.fsencode(target), name), "xb", buffering=0) as stream:
            for _ in range(size // _BLOCK):
                stream.write(block)
    return names


def _make_folders(rng: random.Random, top: Path, count: int) -> list[Path]:
    top.mkdir()
    folders = [top]
    for number in range(count - 1):
        folders.append(rng.choice(folders[-40:]) / f"folder-{number}" if number % 3 else top / f"folder-{number}")
        folders[-1].mkdir()
    return folders
