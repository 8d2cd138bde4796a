"""The layer of a host that holds what is to be tested: wheels, built from sources and installed as a user would.

The wheels, and those of everything they need, are fetched out here for the Python of the tree; in there pip installs
them without any index into a virtual environment at :data:`VENV`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from volt_core import fs, run
from volt_core.testing import roots

VENV = "/opt/volt"
_KEPT = 4
_KEPT_SECONDS = 24 * 3600.0
"""A change of the sources makes a new layer: of a suite's, so many stay, and what was used so lately."""
_TIME_LIMIT = 600.0
# Generated, or of no account for what is installed.
_SKIPPED = frozenset({"_bin", "benchmarks", "build", "dist", "docs", "newsfragments", "tests", "__pycache__"})
_GENERATED = (".egg-info", ".so", ".pyc")
# Chroot rather than a boot: nothing of this needs systemd.
_INSTALL = """
set -e
mount -t overlay volt -o "lowerdir=$1,upperdir=$2/layer,workdir=$2/work" "$2/root"
mount --bind "$2/wheels" "$2/root/mnt"
chroot "$2/root" python3 -m venv "$3"
chroot "$2/root" sh -ec '"$1/bin/pip" install --quiet --no-index --find-links /mnt $2' sh "$3" "$4"
chroot "$2/root" ln -s "$3/bin/volt" /usr/local/bin/volt
"""


def make_site(base: Path, tree: Path, sources: Sequence[str], requirements: Sequence[str], cache: Path) -> Path:
    """Return the layer above `base` in which the distributions of `sources` and the `requirements` are installed.

    Args:
        base: a tree of :func:`~volt_core.testing.hosts.base.make_base`.
        tree: the repository; `sources` are directories below it, each with a ``pyproject.toml``.
        requirements: what else pip is to install, with extras of the distributions as ``volt-core[kits]``.
        cache: where layers are kept; one that fits is used again.
    """
    key = _digest(base.name, tree, sources, requirements)
    site = cache / f"{base.name}.site-{key}"
    with roots.locked(cache / f"{base.name}.site.lock"):
        if not site.is_dir():
            with tempfile.TemporaryDirectory(prefix=".site-", dir=cache) as folder:
                _build(base, tree, sources, requirements, Path(folder))
                Path(folder, "layer").rename(site)
        os.utime(site)
        _forget(cache.glob(f"{base.name}.site-*"))
    return site


def python_version(base: Path) -> str:
    """Return the version of a tree's Python, as ``3.11``."""
    return Path(os.readlink(base / "usr/bin/python3")).name.removeprefix("python")


def _build(base: Path, tree: Path, sources: Sequence[str], requirements: Sequence[str], folder: Path) -> None:
    for name in ("layer", "work", "root", "wheels"):
        (folder / name).mkdir(mode=0o755)
    # From a copy: a build writes among the sources.
    copy = folder / "tree"
    shutil.copytree(tree, copy, ignore=lambda _, names: [name for name in names if _is_skipped(name)], symlinks=True)
    wheels = folder / "wheels"
    _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), *(str(copy / source) for source in sources))
    built = [str(wheel) for wheel in wheels.glob("*.whl")]
    chosen = ["--only-binary=:all:", "--python-version", python_version(base), "--find-links", str(wheels)]
    _pip("download", "--dest", str(wheels), *chosen, *built, *requirements)
    names = [wheel.name.split("-")[0] for wheel in map(Path, built)]
    script = ["sh", "-c", _INSTALL, "sh", str(base), str(folder), VENV, " ".join([*names, *requirements])]
    run.run(["unshare", "--mount", "--propagation", "private", *script], timeout=_TIME_LIMIT)


def _pip(*words: str) -> None:
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    # The index that is set up here, by variables too, is the one to ask.
    env = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    run.run(argv, timeout=_TIME_LIMIT, env=env, cwd="/")


def _digest(base: str, tree: Path, sources: Sequence[str], requirements: Sequence[str]) -> str:
    total = hashlib.sha256(repr((base, list(sources), list(requirements), _INSTALL)).encode())
    for path in sorted(_files(tree)):
        total.update(f"{path.relative_to(tree)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _is_skipped(entry.name):
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
                elif entry.is_file():
                    yield Path(entry.path)


def _is_skipped(name: str) -> bool:
    return name in _SKIPPED or name.startswith(".") or name.endswith(_GENERATED)


def _forget(sites: Iterable[Path]) -> None:
    """Remove the layers that were not used for longest; what a host runs on was used not long ago."""
    used = {site: site.stat().st_mtime for site in sites}
    for old in sorted(used, key=lambda site: used[site], reverse=True)[_KEPT:]:
        if time.time() - used[old] > _KEPT_SECONDS:
            fs.remove_tree(old)
