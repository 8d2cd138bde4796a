"""Import, build, checkout and verify of a whole root file system, each beside the plain tool that does the like.

Run it as ``python -m benchmarks.compare.image``, as root for a fresh file system per round. Caches are warm; before
each timing everything is written out by ``sync``. What Volt puts into its store is durable when the command ends,
so the yardsticks of import and build end with ``sync -f``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compare import filesystem
from benchmarks.compare.timing import Pair, Sample, Spread, cpu_ratio, print_table, run_timed, wall_ratio
from volt_core import __version__, native
from volt_core.testing import roots

VOLT = str(Path(sys.executable).with_name("volt"))
MEGABYTES = 6144


@dataclass(frozen=True)
class Comparison:
    """Two commands that end with as much done; in both, ``{dir}`` is a directory of the file system under test."""

    label: str
    yardstick: str
    candidate: str
    prepare: str = ""
    """Run before each of the two, untimed."""


COMPARISONS = (
    Comparison(
        "import of a tar, empty store",
        "mkdir {dir}/out && tar -xf {tar} -C {dir}/out && sync -f {dir}",
        "{volt} image import {tar} bench --quiet",
        "rm -rf {dir}/out {dir}/volt",
    ),
    Comparison(
        "import of the same tar again",
        "mkdir {dir}/out && tar -xf {tar} -C {dir}/out && sync -f {dir}",
        "{volt} image import {tar} bench --quiet",
        "rm -rf {dir}/out",
    ),
    Comparison(
        "checkout, copies",
        "cp -a {dir}/tree {dir}/out",
        "{volt} cas checkout images/bench:latest {dir}/out --copy",
        "rm -rf {dir}/out",
    ),
    Comparison(
        "checkout, links",
        "cp -al {dir}/tree {dir}/out",
        "{volt} cas checkout images/bench:latest {dir}/out --link",
        "rm -rf {dir}/out",
    ),
    Comparison(
        "verify",
        "find {dir}/tree -type f -print0 | xargs -0 -n 64 -P {cpus} sha256sum",
        "{volt} cas verify",
    ),
    Comparison(
        "build of a directory, same again",
        "find {dir}/tree -printf '%s %T@ %i'",
        "{volt} cas build {dir}/tree --ref again",
    ),
    Comparison(
        "build of a directory, empty store",
        "cp -a {dir}/tree {dir}/out && sync -f {dir}",
        "{volt} cas build {dir}/tree --ref bench",
        "rm -rf {dir}/out {dir}/volt",
    ),
)
"""In the order of a round: the first ones leave what the next ones need."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tar", type=Path, help="an uncompressed tar (default: a minimal Debian by mmdebstrap)")
    parser.add_argument("--rounds", type=int, default=3, help="fresh file systems (default 3)")
    parser.add_argument("--pairs", type=int, default=2, help="pairs per round (default 2)")
    parser.add_argument("--fs", choices=("ext4", "xfs", "directory"), help="default: ext4 for root, else directory")
    parser.add_argument("--directory", type=Path, help="where the image or the directory is made")
    arguments = parser.parse_args(argv)
    kind = arguments.fs or ("ext4" if filesystem.can_mount() else "directory")
    archive = (arguments.tar or roots.debian_tar(roots.cache_directory())).resolve()
    print(f"volt {__version__}, Python {platform.python_version()}, native: {native.implementation()}, ", end="")
    print(f"{tool_version('tar')}, {tool_version('cp')}, Linux {platform.release()}, {cpus()} CPUs")
    print(f"{archive.name}: {archive.stat().st_size / 1e6:.0f} MB; on {where(kind)}; ", end="")
    print(f"{arguments.rounds} rounds of {arguments.pairs} pairs; median [range]\n")
    found: dict[str, list[Pair]] = {comparison.label: [] for comparison in COMPARISONS}
    for _ in range(arguments.rounds):
        with filesystem.fresh(kind, MEGABYTES, below=arguments.directory) as directory:
            for label, pairs in run_round(archive, directory, arguments.pairs):
                found[label] += pairs
    print_table(
        ("operation", "s", "x yardstick, wall", "x in CPU seconds", "yardstick s", "yardstick"),
        (row(comparison, found[comparison.label]) for comparison in COMPARISONS),
    )


def run_round(archive: Path, directory: Path, pairs: int) -> list[tuple[str, list[Pair]]]:
    """Carry out all comparisons on one file system."""
    words = {
        "dir": shlex.quote(str(directory)),
        "tar": shlex.quote(str(archive)),
        "volt": f"{shlex.quote(VOLT)} --root {shlex.quote(str(directory / 'volt'))}",
        "cpus": str(cpus()),
    }
    subprocess.run(["mkdir", directory / "tree"], check=True)
    # An ordinary user cannot make device nodes: what tar could not unpack is not compared either.
    exclude = [] if os.geteuid() == 0 else ["--exclude=./dev/*"]
    subprocess.run(["tar", "-xf", archive, "-C", directory / "tree", *exclude], check=True)
    archive.read_bytes()  # into the page cache
    results = []
    for comparison in COMPARISONS:
        yardstick, candidate = (
            timed(template.format(**words), comparison.prepare.format(**words))
            for template in (comparison.yardstick, comparison.candidate)
        )
        results.append((comparison.label, [(yardstick(), candidate()) for _ in range(pairs)]))
    return results


def timed(command: str, prepare: str) -> Callable[[], Sample]:
    """Return what prepares, writes everything out, and then runs and times a shell command."""

    def run() -> Sample:
        if prepare:
            subprocess.run(["sh", "-c", prepare], check=True)
        os.sync()
        return run_timed(["sh", "-c", command])

    return run


def row(comparison: Comparison, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Return a line of the table."""
    words = {"dir": "DIR", "tar": "TAR", "cpus": str(cpus())}
    return (
        comparison.label,
        str(Spread.of(candidate.wall for _, candidate in pairs)),
        str(wall_ratio(pairs)),
        str(cpu_ratio(pairs)),
        f"{Spread.of(yardstick.wall for yardstick, _ in pairs).median:.2f}",
        f"`{comparison.yardstick.format(**words)}`".replace("|", "\\|"),
    )


def where(kind: str) -> str:
    """Say what kind of place it is."""
    if kind == "directory":
        return "a DIRECTORY of a file system in use: believe the ratios, and those with caution"
    return f"a fresh {kind} image per round (loop device, direct I/O)"


def cpus() -> int:
    """Return the number of CPUs that may be used."""
    return len(os.sched_getaffinity(0))


def tool_version(name: str) -> str:
    """Return the first line of ``NAME --version``, without the vendor."""
    said = subprocess.run([shutil.which(name) or name, "--version"], check=True, capture_output=True, text=True)
    return said.stdout.splitlines()[0].replace("(GNU coreutils) ", "").replace("(GNU tar) ", "")


if __name__ == "__main__":
    main()
