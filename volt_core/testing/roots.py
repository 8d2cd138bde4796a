"""Real root file systems for tests: a small one from the host's busybox, and a Debian."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from volt_core import run

CACHE_VARIABLE = "VOLT_TEST_CACHE"
_BOOTSTRAP_TIMEOUT = 900.0
_DIRECTORIES = ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "var/tmp")
_USERS = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/sh\nguest:x:1000:1000:guest:/home:/bin/sh\n"
_GROUP = "root:x:0:\nwww:x:33:\nstaff:x:50:guest\nguest:x:1000:\n"


def cache_directory() -> Path:
    """Return where what is costly to make is kept between test runs."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(os.environ.get("HOME", "/root"), ".cache", "volt-tests")


def make_busybox_root(target: Path) -> Path:
    """Make a root file system of a few megabytes at `target`: busybox, its applets as symlinks, users and groups."""
    for name in _DIRECTORIES:
        (target / name).mkdir(parents=True)
    (target / "tmp").chmod(0o1777)
    (target / "var/tmp").chmod(0o1777)
    shutil.copy(run.need_program("busybox"), target / "bin/busybox")
    for applet in run.run(["busybox", "--list"], timeout=10).stdout.decode().split():
        with contextlib.suppress(FileExistsError):
            (target / "bin" / applet).symlink_to("busybox")
    (target / "etc/passwd").write_text(_USERS)
    (target / "etc/group").write_text(_GROUP)
    (target / "etc/motd").write_text("a file that is not executable\n")
    (target / "etc/motd").chmod(0o644)
    return target


def debian_tar(cache: Path) -> Path:
    """Return a tar of a minimal Debian, made by mmdebstrap on first use and kept in `cache`.

    Two test runs may ask at once: one makes it, the other waits. What an interrupted run left is removed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    result = cache / f"debian-{_suite()}-minbase.tar"
    with locked(cache / "debian.lock"):
        if not result.exists():
            for leftover in cache.glob("debian-*.partial"):
                leftover.unlink()
            partial = result.with_suffix(".partial")
            sources = _apt_sources()
            run.run(
                ["mmdebstrap", "--variant=minbase", "--format=tar", _suite(), str(partial), *sources],
                timeout=_BOOTSTRAP_TIMEOUT,
            )
            partial.rename(result)
    return result


def _suite() -> str:
    """The host's own suite where the host is Debian, so that its apt sources have it."""
    release = _os_release()
    return release.get("VERSION_CODENAME", "bookworm") if release.get("ID") == "debian" else "bookworm"


def _apt_sources() -> list[str]:
    """The host's apt sources where it is Debian, so that a mirror set up there is used; else the tool's default."""
    if _os_release().get("ID") != "debian":
        return []
    candidates = (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("debian*")))
    return [str(path) for path in candidates if path.is_file() and path.stat().st_size]


def _os_release() -> dict[str, str]:
    with contextlib.suppress(FileNotFoundError):
        lines = Path("/etc/os-release").read_text().splitlines()
        return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    return {}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Unlike fs.lock, waits as long as it takes: whoever holds it is downloading a distribution."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
