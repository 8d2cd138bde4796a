"""Images of Debian and Ubuntu, made by mmdebstrap or debootstrap: neither is written again here.

mmdebstrap writes a tar to its standard output, which goes into the store as it comes: no directory is
unpacked in between, and no root is needed where user namespaces are. debootstrap needs root and a
directory, which is put into the store and removed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO, cast

from volt_core import fs, run
from volt_core.contracts import FetchedImage, ImageRequest, ImageSource, Probe, Progress, PutResult, Ref, Store
from volt_core.errors import (
    ArchiveInvalid,
    BackendError,
    BackendUnavailable,
    NotFoundError,
    TimedOut,
    UsageError,
)
from volt_core.images import records
from volt_core.images.mirrors import distribution_sources, host_sources, mirror_lines, os_release, parse_os_release
from volt_core.models.image import DEFAULT_PATH, ImageConfig
from volt_core.names import shown

_SUITE = re.compile(r"^[a-z][a-z0-9.-]{0,40}\Z")
_PACKAGE = re.compile(r"^[a-z0-9][a-z0-9+.:-]{0,100}\Z")
_VARIANTS = ("minbase", "buildd", "essential", "apt", "required", "important", "standard")
_DEFAULT_VARIANT = "minbase"
# Seconds. mmdebstrap writes its first byte when all is installed, so this bounds the same work for both tools.
_TIME_LIMIT = 3600.0
_CLEAR_LIMIT = 300.0
_WORK_PREFIX = ".bootstrap-"
_ABANDONED = 24 * _TIME_LIMIT
_DEBOOTSTRAP_SCHEMES = ("http:", "https:", "ftp:", "file:", "ssh:")
_BUFFER = 1024 * 1024
_CONFIG = ImageConfig(env=(f"PATH={DEFAULT_PATH}",), cmd=("/bin/bash",))


class BootstrapSource(ImageSource):
    """``debian:SUITE`` and ``ubuntu:SUITE``."""

    NAME = "bootstrap"
    SCHEMES = ("debian", "ubuntu")

    def probe(self) -> Probe:
        """Whether a bootstrap tool is there."""
        if run.find_program("mmdebstrap"):
            return Probe.yes("mmdebstrap")
        if run.find_program("debootstrap"):
            if os.geteuid() == 0:
                return Probe.yes("debootstrap")
            return Probe.no("debootstrap needs root", "Install mmdebstrap, or run volt as root.")
        return Probe.no("neither mmdebstrap nor debootstrap is installed", "Install the package mmdebstrap.")

    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        """Bootstrap the suite into the store; the ref moves when the tool has ended well."""
        _check(request)
        probe = self.probe()
        if not probe.available:
            raise BackendUnavailable(
                f"Cannot pull '{request.scheme}:{request.reference}': {probe.reason}", hint=probe.hint
            )
        make = _by_mmdebstrap if probe.version == "mmdebstrap" else _by_debootstrap
        result = make(request, store, progress)
        _check_distribution(request, result.digest, store)
        source = f"{request.scheme}:{request.reference} by {probe.version}, {request.variant or _DEFAULT_VARIANT}"
        if request.include:
            source += f", with {' '.join(request.include)}"
        store.set_ref(records.complete(ref, result, _CONFIG, source))
        return FetchedImage(result=result, config=_CONFIG, source=source)


def build_mmdebstrap_argv(request: ImageRequest, sources: list[str]) -> list[str]:
    """Return the command line; the tar goes to stdout. Without `sources` the tool takes its default mirror."""
    argv = [
        "mmdebstrap",
        "--format=tar",
        f"--variant={request.variant or _DEFAULT_VARIANT}",
        # Device nodes cannot be made in a user namespace, and a container gets its own /dev.
        "--skip=output/dev",
    ]
    if request.include:
        argv.append(f"--include={','.join(request.include)}")
    return [*argv, request.reference, "-", *sources]


def build_debootstrap_argv(request: ImageRequest, target: str, mirror: str) -> list[str]:
    """Return the command line of the fallback."""
    argv = ["debootstrap", f"--variant={request.variant or _DEFAULT_VARIANT}"]
    if request.include:
        argv.append(f"--include={','.join(request.include)}")
    return [*argv, request.reference, target, *([mirror] if mirror else [])]


def _check(request: ImageRequest) -> None:
    if not _SUITE.match(request.reference):
        raise UsageError(
            f"Invalid suite {shown(request.reference)}", hint=f"Try {request.scheme}:bookworm or the like."
        )
    if request.variant and request.variant not in _VARIANTS:
        raise UsageError(f"Unknown variant {shown(request.variant)}", hint=f"Known are {', '.join(_VARIANTS)}.")
    for package in request.include:
        if not _PACKAGE.match(package):
            raise UsageError(f"Invalid package name {shown(package)}", hint="Separate names by commas.")
    if request.mirror and not re.match(r"^[a-z][a-z+]*:/[^\s]+\Z", request.mirror):
        raise UsageError(f"Invalid mirror {shown(request.mirror)}", hint="Give its URL.")


def _check_distribution(request: ImageRequest, digest: str, store: Store) -> None:
    """Raise :class:`BackendError` if the tree says that it is of another distribution.

    A tool is told the suite alone, and looks for it where its own distribution is.
    """
    try:
        text = store.read_file(digest, b"etc/os-release").decode("utf-8", "replace")
    except NotFoundError:
        return
    found = parse_os_release(text).get("ID", request.scheme)
    if found != request.scheme:
        raise BackendError(
            f"Cannot pull '{request.scheme}:{request.reference}': what was fetched is {shown(found)}",
            hint=f"Check the suite, or name a mirror of {request.scheme} with --mirror.",
        )


def _sources(request: ImageRequest) -> list[str]:
    """Return what to give the tool as mirrors: the user's, else the host's if it runs the same distribution."""
    if request.mirror:
        return [request.mirror]
    release = os_release()
    if release.get("ID") != request.scheme:
        return []
    sources = distribution_sources(host_sources(), request.scheme)
    return mirror_lines(request.reference, release.get("VERSION_CODENAME", ""), sources)


class _Awaited(io.RawIOBase):
    """A tool's output. Raises :class:`TimedOut` when nothing comes for too long: a mirror may hang for ever."""

    def __init__(self, pipe: IO[bytes], program: str) -> None:
        self._descriptor = pipe.fileno()
        self._program = program

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        ready, _, _ = select.select([self._descriptor], [], [], _TIME_LIMIT)
        if not ready:
            raise TimedOut(
                f"'{self._program}' has written nothing for {_TIME_LIMIT / 60:g} minutes",
                hint="Check the mirror, or name another with --mirror.",
            )
        return os.readv(self._descriptor, [buffer])


def _by_mmdebstrap(request: ImageRequest, store: Store, progress: Progress) -> PutResult:
    argv = build_mmdebstrap_argv(request, _sources(request))
    progress.begin(f"bootstrapping {request.scheme}:{request.reference}")
    with tempfile.TemporaryFile() as errors:
        with run.start(argv, stdout=run.PIPE, stderr=errors) as process:
            if process.stdout is None:
                raise AssertionError("a pipe was asked for")
            cut_short: ArchiveInvalid | None = None
            output = io.BufferedReader(_Awaited(process.stdout, argv[0]), _BUFFER)
            try:
                result = store.put_tar(cast(BinaryIO, output), mtime=request.mtime, progress=progress)
            except ArchiveInvalid as error:  # judged below: a tool that fails also cuts its tar short
                cut_short = error
            _drain(output)
            status = _wait(process, argv)
        if status != 0:
            errors.seek(0)
            raise run.failure(argv, status, errors.read()) from cut_short
        if cut_short is not None:
            raise cut_short
    return result


def _wait(process: run.Process[bytes], argv: Sequence[str]) -> int:
    """Return the status of a tool that has nothing left to write; it still has to clear away its directory."""
    try:
        return process.wait(_CLEAR_LIMIT)
    except run.Expired as expired:
        raise TimedOut(f"'{argv[0]}' wrote everything and does not end") from expired


def _by_debootstrap(request: ImageRequest, store: Store, progress: Progress) -> PutResult:
    progress.begin(f"bootstrapping {request.scheme}:{request.reference}")
    with _work_folder(store.path.parent) as folder:
        target = folder / "root"
        argv = build_debootstrap_argv(request, str(target), choose_mirror(request.reference, _sources(request)))
        run.run(argv, timeout=_TIME_LIMIT)
        fs.remove_tree(target / "dev")
        (target / "dev").mkdir(0o755)
        archives = target / "var/cache/apt/archives"
        for package in archives.glob("*.deb"):
            package.unlink()
        return store.put_directory(target, mtime=request.mtime, progress=progress)


def choose_mirror(suite: str, sources: Sequence[str]) -> str:
    """Return the one mirror that debootstrap takes: that of the suite itself, not of its security; or nothing."""
    for source in sources:
        words = source.split()
        if len(words) == 1:  # the user's own, without "deb" and suite
            return source
        uri, of_suite = words[-3:-1]
        if of_suite == suite and uri.startswith(_DEBOOTSTRAP_SCHEMES):
            return uri
    return ""


@contextlib.contextmanager
def _work_folder(parent: Path) -> Iterator[Path]:
    """Give a directory on the store's own file system, and clear away those that killed commands left.

    /tmp would not do: where it is a tmpfs it has nodev, which debootstrap refuses, and little room.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob(f"{_WORK_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _ABANDONED:
                fs.remove_tree(old)
    folder = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=parent))
    try:
        yield folder
    finally:
        # Whatever debootstrap left mounted stays for the next time.
        with contextlib.suppress(OSError):
            fs.remove_tree(folder)


def _drain(stream: IO[bytes]) -> None:
    """Read what follows the archive, so that the writer ends with a status of its own, not of a closed pipe."""
    while stream.read(64 * 1024):
        pass
