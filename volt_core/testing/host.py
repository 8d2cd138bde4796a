"""What this host can do: probes that tests ask for before they need root, systemd, KVM and the like.

A test says ``require("proot")`` or carries the marker ``needs_proot``. Where the host cannot, it is skipped
with the reason, unless ``VOLT_TEST_REQUIRE`` (names with commas between) names the capability: then it fails,
so that a machine that should be able to do it never passes by skipping.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from volt_core import native, run
from volt_core.errors import VoltError
from volt_core.native import extension
from volt_core.systemd.machine import unified_mount
from volt_core.testing import pythons, syscalls, users
from volt_core.testing.hosts import SUITE_VARIABLE
from volt_core.testing.hosts.virtual import QEMU, find_virtiofsd

REQUIRE_VARIABLE = "VOLT_TEST_REQUIRE"
_GUEST_STATUS = 123
_QUICK = 10.0


def why_not(capability: str) -> str | None:
    """Return why this host lacks a capability, or None if it has it. Each is tried once per process."""
    return _answer(capability)


def have(capability: str) -> bool:
    """Tell whether this host has a capability."""
    return why_not(capability) is None


_CONTROLLERS = (Path("/sys/fs/cgroup/cgroup.controllers"), Path("/sys/fs/cgroup/unified/cgroup.controllers"))


def require(capability: str) -> None:
    """Skip the running test, or fail it where the capability was promised, unless the host has it."""
    reason = why_not(capability)
    if reason is not None:
        lack(capability, reason)


def lack(capability: str, reason: str) -> NoReturn:
    """Skip the running test, or fail it where the capability was promised: for what is seen only when it is tried."""
    if capability in required():
        pytest.fail(f"{REQUIRE_VARIABLE} names '{capability}', but {reason}", pytrace=False)
    pytest.skip(f"needs {capability}: {reason}")


def required() -> frozenset[str]:
    """Return the capabilities that were promised. Raises ValueError for an unknown one."""
    names = frozenset(name.strip() for name in os.environ.get(REQUIRE_VARIABLE, "").split(",") if name.strip())
    unknown = names - PROBES.keys()
    if unknown:
        raise ValueError(f"{REQUIRE_VARIABLE} names {sorted(unknown)}; known are {sorted(PROBES)}")
    return names


@contextlib.contextmanager
def loop_mounted(kind: str, megabytes: int, *options: str) -> Iterator[Path]:
    """Mount a fresh file system of `kind` (``ext4``, ``xfs``) from an image file; needs ``loop_mount``."""
    with tempfile.TemporaryDirectory(prefix="volt-loop-") as folder:
        image, target = Path(folder, "image"), Path(folder, "mnt")
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        target.mkdir()
        run.run([f"mkfs.{kind}", "-q", *options, str(image)], timeout=60)
        run.run(["mount", "-o", "loop", str(image), str(target)], timeout=60)
        try:
            yield target
        finally:
            run.run(["umount", "--", str(target)], timeout=60)


def _root() -> str | None:
    return None if os.geteuid() == 0 else "these tests do not run as root"


def _systemd() -> str | None:
    """A test host: tests that need systemd make and end units, which is not to be done to somebody's own machine."""
    if SUITE_VARIABLE in os.environ:
        return None if os.path.isdir("/run/systemd/system") else "systemd is not PID 1 in this test host"
    if (reason := _root()) is not None:
        return reason
    missing = [name for name in ("systemd-nspawn", "mmdebstrap", "chroot") if run.find_program(name) is None]
    if missing:
        return f"no test host can be made, not installed: {', '.join(missing)}"
    try:
        unified_mount()
    except VoltError as error:
        return error.brief
    return None


def _virtual_host() -> str | None:
    """A test host that is a virtual machine."""
    if SUITE_VARIABLE in os.environ:
        return "this is a test host"
    if (reason := _systemd()) is not None:
        return reason
    if platform.machine() != "x86_64":
        return "these machines are of x86-64 alone"
    missing = [name for name, path in ((QEMU, run.find_program(QEMU)), ("virtiofsd", find_virtiofsd())) if path is None]
    return f"not installed: {', '.join(missing)}" if missing else _program("busybox")


def _kvm() -> str | None:
    """Run a guest: there are hosts where /dev/kvm opens and every guest hangs."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm is missing or not ours to open"
    # Boot sector: mov dx, 0xf4; mov al, 61; out dx, al; hlt. The device makes status (61 << 1) | 1 of it.
    sector = bytes.fromhex("baf400b03deef4").ljust(510, b"\0") + b"\x55\xaa"
    with tempfile.NamedTemporaryFile(prefix="volt-kvm-") as disk:
        disk.write(sector)
        disk.flush()
        machine = ["-accel", "kvm", "-display", "none", "-nodefaults", "-device", "isa-debug-exit"]
        drive = ["-drive", f"file={disk.name},format=raw,if=ide,readonly=off"]
        return _fails(["qemu-system-x86_64", *machine, *drive], ok=_GUEST_STATUS)


def _proot() -> str | None:
    return _fails(["proot", "-r", "/", "true"])


def _bwrap() -> str | None:
    return _fails(["bwrap", "--unshare-pid", "--bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"])


def _loop_mount() -> str | None:
    if (reason := _root()) is not None:
        return reason
    try:
        with loop_mounted("ext4", 8):
            return None
    except VoltError as error:
        return f"a loop image cannot be mounted: {error}"


def _xfs_reflink() -> str | None:
    if (reason := _loop_mount()) is not None:
        return reason
    try:
        with loop_mounted("xfs", 320) as target:
            Path(target, "a").write_bytes(b"x" * 8192)
            return _fails(["cp", "--reflink=always", str(target / "a"), str(target / "b")])
    except VoltError as error:
        return f"an XFS image cannot be mounted: {error}"


def _user_namespaces() -> str | None:
    return _fails(users.as_user_argv("unshare", "--user", "--map-root-user", "--mount", "true"))


def _user_xattrs() -> str | None:
    with tempfile.NamedTemporaryFile(prefix="volt-xattr-") as file:
        try:
            os.setxattr(file.name, "user.volt", b"1")
        except OSError as error:
            return f"{tempfile.gettempdir()} takes no user xattrs: {error.strerror}"
    return None


def _program(name: str) -> str | None:
    return None if run.find_program(name) else f"{name} is not installed"


def _busybox() -> str | None:
    found = run.find_program("busybox")
    if found is None:
        return "busybox is not installed (package busybox-static)"
    # A static program names no interpreter.
    return "busybox is not static (package busybox-static)" if b"/ld-linux" in Path(found).read_bytes() else None


def _mmdebstrap() -> str | None:
    return None if run.find_program("mmdebstrap") else "mmdebstrap is not installed"


def _ordinary_user() -> str | None:
    if users.is_usable(users.user_python()):
        return None
    return (
        f"no Python that an ordinary user can start has Volt: not {sys.executable}, nor one of this version in /usr/bin"
    )


def _native() -> str | None:
    """The C build succeeded, and what it built runs here."""
    try:
        extension.CImplementation()
    except ImportError as error:
        return f"the C extension was not built: {error}"
    return None if native.program("init") else "the static programs were not built"


def _cgroup_controllers() -> str | None:
    missing = [reason for name in ("cpu", "memory", "pids") if (reason := why_no_controller(name))]
    return missing[0] if missing else None


def why_no_controller(name: str) -> str:
    """Return why this host cannot limit by that cgroup controller, or nothing if it can."""
    for path in _CONTROLLERS:
        if path.exists():
            return "" if name in path.read_text().split() else f"this host has no controller '{name}'"
    return "this host has no unified cgroups"


def _pythons() -> str | None:
    """All that are promised; those that are not here can be had from Debian, by root."""
    missing = [version for version in pythons.VERSIONS if pythons.find(version) is None]
    reason = _root() or _mmdebstrap() if missing else None
    return f"Python {', '.join(missing)} is not here, and cannot be had from Debian: {reason}" if reason else None


def _c_compiler() -> str | None:
    missing = [name for name in ("cc", "make") if run.find_program(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def _strace() -> str | None:
    """Attach to a child: a container may have strace and not the right to."""
    if (reason := _program("strace")) is not None:
        return reason
    try:
        found = syscalls.trace(lambda: os.access("/", os.F_OK), ("access", "faccessat", "faccessat2"))
    except OSError as error:
        return str(error)
    return None if found else "strace sees no system calls"


def _clang() -> str | None:
    """The compiler and the runtime of its fuzzer, which is a package of its own."""
    if run.find_program("clang") is None:
        return "clang is not installed"
    with tempfile.TemporaryDirectory(prefix="volt-clang-") as folder:
        source = Path(folder, "empty.c")
        source.write_text("int LLVMFuzzerTestOneInput(void) { return 0; }\n")
        return _fails(["clang", "-fsanitize=fuzzer", "-o", f"{folder}/empty", str(source)])


PROBES: dict[str, Callable[[], str | None]] = {
    "root": _root,
    "systemd": _systemd,
    "virtual_host": _virtual_host,
    "kvm": _kvm,
    "proot": _proot,
    "bwrap": _bwrap,
    "loop_mount": _loop_mount,
    "xfs_reflink": _xfs_reflink,
    "user_namespaces": _user_namespaces,
    "user_xattrs": _user_xattrs,
    "busybox": _busybox,
    "mmdebstrap": _mmdebstrap,
    "ordinary_user": _ordinary_user,
    "native": _native,
    "pythons": _pythons,
    "cgroup_controllers": _cgroup_controllers,
    "c_compiler": _c_compiler,
    "strace": _strace,
    "clang": _clang,
    "zsh": functools.partial(_program, "zsh"),
    "fish": functools.partial(_program, "fish"),
    "ostree": functools.partial(_program, "ostree"),
    "casync": functools.partial(_program, "casync"),
    "borg": functools.partial(_program, "borg"),
    "restic": functools.partial(_program, "restic"),
    "git": functools.partial(_program, "git"),
    "rsync": functools.partial(_program, "rsync"),
    "zip": functools.partial(_program, "zip"),
    "unzip": functools.partial(_program, "unzip"),
}
"""The capabilities by name; each probe returns why it is missing, or None."""


@functools.cache
def _answer(capability: str) -> str | None:
    return PROBES[capability]()


def _fails(argv: list[str], *, ok: int = 0) -> str | None:
    """Return why `argv` did not end with `ok`, or None if it did."""
    try:
        run.run(argv, timeout=_QUICK, ok=(ok,), cwd="/")
    except VoltError as error:
        said = (error.details or "").strip().splitlines()
        return f"{error.brief}: {said[0]}" if said else error.brief
    return None
