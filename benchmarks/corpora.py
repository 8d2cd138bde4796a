"""The corpora of the store's comparisons: A a Debian, B many small files, C four large ones; and what changes in them.

All but A come from a seed: equal arguments give equal trees on any machine. They are made in bulk, a million files
in about a minute, so nothing is kept per file; for a tree whose digests are known, see :mod:`benchmarks.datasets`.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SMALL_FILES = 50_000
LARGE_FILES = 4
LARGE_SIZE = 512 << 20
LARGEST_SMALL = 32 * 1024

_EPOCH = 1_600_000_000
_MEDIAN, _SIGMA = 1780, 1.25  # of the logarithm; 3.7 KB on average, as in include and share of a distribution
_FILES_PER_DIRECTORY = 6
_TEXT = 4 << 20
_BLOCK = 4 << 20
_ENDINGS = (".h", ".txt", ".py", ".mo", ".svg", ".png", ".gz", ".so", ".conf", "")


@dataclass(frozen=True)
class Made:
    """What was made: everything below the root, content bytes of regular files, one name per inode."""

    files: int
    directories: int
    symlinks: int
    hardlinks: int
    empty: int
    equal: int
    """Files whose content another one has too, counted without the first of each."""
    bytes: int


def make_small_files(target: Path, files: int = SMALL_FILES, *, seed: int = 1) -> Made:
    """Make corpus B at `target`: about 3.7 KB a file, six files a directory on average and some with hundreds.

    Some files are equal, a few are empty, and there are symlinks and hard links, as many as a distribution has. What
    is equal was installed together, so it has the same mode and time, but for one in twenty: 0.3 % of all files, as in
    the /usr/include and /usr/share of a Debian.
    """
    rng = random.Random(seed)
    text = memoryview(_text(rng))
    paths = _directories(rng, max(1, files // _FILES_PER_DIRECTORY))
    for path in paths:
        os.mkdir(os.path.join(target, path))
    # A few directories get many of the files: manual pages, icons, time zones.
    weights = [rng.paretovariate(1.16) for _ in paths]
    homes = rng.choices(range(len(paths)), weights, k=files)
    symlinks = hardlinks = empty = equal = total = 0
    content: bytes | memoryview = b""
    mode, moment = 0o644, _moment(rng)
    for number, home in enumerate(homes):
        if number % 2000 == 999:
            content = b""
            empty += 1
        elif number and number % 16 == 15 and content:  # 6 %: equal to the one before
            equal += 1
            if equal % 20 == 0:
                moment = _moment(rng)
        else:
            size = max(9, min(LARGEST_SMALL, int(_MEDIAN * rng.lognormvariate(0, _SIGMA))))
            start = rng.randrange(_TEXT - size)
            content = b"%08x\n" % number + text[start : start + size - 9]
            mode, moment = 0o755 if number % 12 == 0 else 0o644, _moment(rng)
        path = os.path.join(target, paths[home], _name(rng, number))
        _write(path, content, mode, *moment)
        total += len(content)
        if number % 25 == 7:
            os.symlink(os.path.basename(path), f"{path}.l")
            symlinks += 1
        if number % 400 == 11:
            os.link(path, f"{path}.h")
            hardlinks += 1
    _settle_directories(target)
    return Made(files, len(paths), symlinks, hardlinks, empty, equal, total)


def _moment(rng: random.Random) -> tuple[int, int]:
    """Draw a time: seconds and nanoseconds."""
    return _EPOCH + rng.randrange(10**7), rng.randrange(10**9)


def make_scattered(target: Path, files: int = 2000) -> None:
    """Make a directory for each of so many small files: enough that all folders of a store get some of either."""
    for number in range(files):
        path = target / str(number)
        path.mkdir(parents=True)
        (path / "file").write_text(f"{number}\n")


def make_large_files(target: Path, size: int = LARGE_SIZE, *, files: int = LARGE_FILES, seed: int = 1) -> Made:
    """Make corpus C at `target`: a few files of `size` bytes that nothing can compress and that share no block."""
    rng = random.Random(seed)
    block = bytearray(rng.randbytes(min(_BLOCK, size)))
    os.mkdir(target)
    for number in range(files):
        path = os.path.join(target, f"library-{number}.tar")
        with open(path, "wb", buffering=0) as file:
            for start in range(0, size, len(block)):
                # Every page differs from the same page of other blocks, so that no store finds a chunk twice.
                for page in range(0, len(block), 4096):
                    block[page : page + 8] = (start + page + number * size + 1).to_bytes(8, "little")
                file.write(memoryview(block)[: size - start])
        os.utime(path, (_EPOCH, _EPOCH + number))
    _settle_directories(target)
    return Made(files, 0, 0, 0, 0, 0, files * size)


def unpack(archive: Path, target: Path) -> None:
    """Make corpus A: unpack a tar. An ordinary user cannot make device nodes, so they are left out then."""
    target.mkdir()
    exclude = [] if os.geteuid() == 0 else ["--exclude=./dev/*"]
    subprocess.run(["tar", "-xf", archive, "-C", target, *exclude], check=True)


def regular_files(tree: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield path and status of each regular file, sorted; a further name of an inode is left out."""
    seen: set[int] = set()
    for folder, names, files in os.walk(tree):
        names.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if not stat.S_ISREG(info.st_mode):
                continue
            if info.st_nlink > 1:
                if info.st_ino in seen:
                    continue
                seen.add(info.st_ino)
            yield path, info


def change_files(tree: Path, *, share: float = 0.01, clustered: bool = False, seed: int = 1) -> int:
    """Replace a share of the files by new ones of the same size and mode, as an upgrade does; return how many.

    They are spread evenly, or `clustered`: neighbours in the sorted tree, as the files of one package are. Large
    files get a new beginning instead: what is measured is the store, not the making of data.
    """
    rng = random.Random(f"change {seed}")
    found = [(path, info) for path, info in regular_files(tree) if info.st_size and info.st_nlink == 1]
    count = max(1, round(len(found) * share))
    if clustered:
        start = rng.randrange(len(found) - count + 1)
        chosen = found[start : start + count]
    else:
        step = len(found) / count
        offset = rng.random() * step
        chosen = [found[int(offset + step * number)] for number in range(count)]
    for path, info in chosen:
        stamp = rng.randbytes(16).hex().encode()
        if info.st_size > _BLOCK:
            with open(path, "r+b") as file:
                file.write(stamp)
            continue
        with open(path, "rb") as file:
            content = (stamp + file.read()[len(stamp) :])[: max(info.st_size, len(stamp))]
        _write(f"{path}.new", content, stat.S_IMODE(info.st_mode), info.st_mtime + 86400, 0)
        if os.geteuid() == 0:
            os.chown(f"{path}.new", info.st_uid, info.st_gid)
            os.chmod(f"{path}.new", stat.S_IMODE(info.st_mode))  # chown takes set-uid away
        os.replace(f"{path}.new", path)
    return count


def touch(tree: Path, *, seconds: int = 86400) -> None:
    """Give everything another modification time, as when the same tree is built once more."""
    seen: set[int] = set()
    for folder, names, files in os.walk(tree, topdown=False):
        for path in (*(os.path.join(folder, name) for name in (*names, *files)), folder):
            info = os.lstat(path)
            if info.st_ino in seen:  # a hard link, or a directory by its other name
                continue
            seen.add(info.st_ino)
            times = (info.st_atime_ns, info.st_mtime_ns + seconds * 10**9)
            os.utime(path, ns=times, follow_symlinks=False)


def split(tree: Path, first: Path, second: Path) -> None:
    """Make two trees of half the tree's regular files each, as hard links: a directory's files stay together.

    Where there are too few directories for that, every second file goes to one. Links change the ctime of the files.
    """
    held = {}
    for folder, _, names in os.walk(tree):
        regular = [name for name in sorted(names) if stat.S_ISREG(os.lstat(os.path.join(folder, name)).st_mode)]
        held[os.path.relpath(folder, tree)] = regular
    groups = [(folder, names) for folder, names in held.items() if names]
    if len(groups) < 8:
        groups = [(folder, [name]) for folder, names in groups for name in names]
    counts = [0, 0]
    for folder, names in sorted(groups, key=lambda group: (-len(group[1]), group)):
        half = counts.index(min(counts))  # the largest first: so both get nearly the same
        target = (first, second)[half] / folder
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.link(os.path.join(tree, folder, name), target / name)
        counts[half] += len(names)


def make_objects(tree: Path, kept: Path, target: Path) -> int:
    """Write each content of `tree` that `kept` has not to a file of its own named by its hash; return how many.

    This is what a store has to remove when it loses `tree`, in the 256 directories that stores spread objects over.
    """
    others = {_digest(path) for path, _ in regular_files(kept)}
    target.mkdir()
    for number in range(256):
        (target / f"{number:02x}").mkdir()
    count = 0
    for path, info in regular_files(tree):
        digest = _digest(path)
        if info.st_size and digest not in others:
            others.add(digest)
            _copy(path, target / digest[:2] / digest[2:])
            count += 1
    return count


def _copy(source: str, target: Path) -> None:
    with open(source, "rb", buffering=0) as reader, open(target, "xb", buffering=0) as writer:
        while piece := reader.read(_BLOCK):
            writer.write(piece)


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_BLOCK):
            digest.update(piece)
    return digest.hexdigest()


def _text(rng: random.Random) -> bytes:
    """Return what compresses about as text and code do: words of a made-up language."""
    words = ["".join(rng.choices("etaoinshrdlucmfwypvbgk", k=rng.randint(2, 9))) for _ in range(4000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    text = " ".join(rng.choices(words, weights, k=_TEXT // 4))
    return text.encode()[:_TEXT].ljust(_TEXT, b"\n")


def _directories(rng: random.Random, count: int) -> list[str]:
    """Return relative paths, parents first; the empty one is the root. Five levels deep for most."""
    paths, depths = [""], [0]
    for number in range(count):
        parent = min(rng.randrange(len(paths)), rng.randrange(len(paths)))
        if depths[parent] > 8:
            parent = 0
        paths.append(os.path.join(paths[parent], f"{_word(rng)}{number}"))
        depths.append(depths[parent] + 1)
    return paths


def _name(rng: random.Random, number: int) -> str:
    return f"{_word(rng)}-{number}{_ENDINGS[number % len(_ENDINGS)]}"


def _word(rng: random.Random) -> str:
    return "".join(rng.choices("aeioulnrst", k=3 + int(math.sqrt(rng.randrange(36)))))


def _write(path: str, content: bytes | memoryview, mode: int, seconds: float, nanoseconds: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        if content:
            os.write(descriptor, content)
        os.fchmod(descriptor, mode)
        stamp = int(seconds) * 10**9 + nanoseconds
        os.utime(descriptor, ns=(stamp, stamp))
    finally:
        os.close(descriptor)


def _settle_directories(target: Path | str) -> None:
    for folder, _, _ in os.walk(target, topdown=False):
        os.utime(folder, (_EPOCH, _EPOCH))
