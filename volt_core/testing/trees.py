"""Comparing directories field by field, and a directory that has everything that is awkward to keep."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

_SLACK = 64 * 1024  # bytes that a copy may allocate beyond its original: blocks are not equal everywhere
# Given by the host's policy, or another view of the ACLs that XFS has.
_OF_THE_HOST = ("security.selinux", "trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT")
_ACL_VERSION = b"\x02\x00\x00\x00"


class _Facts(msgspec.Struct, frozen=True):
    """What is compared of one entry."""

    type: str
    mode: str
    uid: int
    gid: int
    mtime_ns: int
    size: int
    content: str
    target: str
    device: tuple[int, int]
    xattrs: dict[str, bytes]
    hardlinks: tuple[str, ...]


def differences(a: Path, b: Path, *, ignore: frozenset[str] | set[str] = frozenset()) -> list[str]:
    """Return one line for each difference between two directories; none means that they are equal.

    Compared are names, types, modes, owners, sizes, contents, mtimes in ns, extended attributes (ACLs and
    capabilities among them), symlink targets, device numbers, hard-link groups, and that holes are kept.
    `ignore` takes names of fields: ``uid``, ``gid``, ``mode``, ``mtime_ns``, ``hardlinks``, ``holes`` …
    """
    left, right = dict(_entries(a)), dict(_entries(b))
    groups_left, groups_right = _groups(left), _groups(right)
    found = [f"{_shown(path)}: only in the first" for path in sorted(left.keys() - right.keys())]
    found += [f"{_shown(path)}: only in the second" for path in sorted(right.keys() - left.keys())]
    for path in sorted(left.keys() & right.keys()):
        (full_left, info_left), (full_right, info_right) = left[path], right[path]
        one = _facts(full_left, info_left, groups_left.get(path, ()))
        other = _facts(full_right, info_right, groups_right.get(path, ()))
        for field in one.__struct_fields__:
            if field not in ignore and getattr(one, field) != getattr(other, field):
                found.append(f"{_shown(path)}: {field}: {getattr(one, field)!r} is not {getattr(other, field)!r}")
        if "holes" not in ignore and stat.S_ISREG(info_left.st_mode):
            allocated, before = info_right.st_blocks * 512, info_left.st_blocks * 512
            if allocated > before + _SLACK:
                found.append(f"{_shown(path)}: holes: {before} bytes were allocated, now {allocated}")
    return found


def awkward_tree(path: Path) -> None:
    """Make a directory at `path` with everything that is hard to keep and that this user may make."""
    path.mkdir()
    root = os.fsencode(path)
    _files(path)
    _names(root)
    _links(path)
    _attributes(path)
    if os.geteuid() == 0:
        _for_root(path)
    _times(path)


def _files(path: Path) -> None:
    (path / "empty").touch()
    (path / "also-empty").touch()
    for name, mode in (("plain", 0o644), ("same-content", 0o644), ("other-mode", 0o755), ("secret", 0o400)):
        (path / name).write_bytes(b"the same in all of them\n")
        (path / name).chmod(mode)
    (path / "set-uid").write_bytes(b"#!/bin/sh\n")
    (path / "set-uid").chmod(0o6755)
    (path / "large").write_bytes(bytes(range(256)) * 8192)  # 2 MiB
    with (path / "sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(10 << 20)
        file.write(b"in the middle")
    with (path / "only-hole").open("wb") as file:
        file.truncate(5_000_001)
    os.mkfifo(path / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(path):
        listener.bind("socket")
    (path / "sticky").mkdir()
    (path / "sticky").chmod(0o1777)
    (path / "closed").mkdir()
    (path / "closed/inside").write_text("reached by its owner\n")


def _names(root: bytes) -> None:
    for name in (
        b"\xff\xfe not utf-8",
        b"new\nline",
        b" leading",
        b"trailing ",
        b"-dash",
        b"a\\b",
        b"\xc3\xa9",
        b"n" * 255,
        *_every_byte(),
    ):
        with open(root + b"/" + name, "wb") as file:
            file.write(name)
    os.mkdir(root + b"/dir \xfe")
    os.symlink(b"../\xff\xfe not utf-8", root + b"/dir \xfe/link \xfd")
    os.makedirs(root + b"/deep" + b"/0123456789" * 60)


def _every_byte() -> Iterator[bytes]:
    """Yield names of 255 bytes in which every byte occurs that can."""
    rest = bytes(set(range(1, 256)) - {ord("/")})
    yield rest + b"x"
    yield rest[::-1][:200] + b"\xe2\x80" * 27 + b"\n"


def _links(path: Path) -> None:
    (path / "dangling").symlink_to("no/such/file")
    (path / "absolute").symlink_to("/etc/passwd")
    (path / "long-target").symlink_to("target/" * 140)
    for number, target in enumerate((b".", b"..", b"/", b"a/", b"//a//b", b"\n", b"\xff\xfe/\x01", b" ", b"-" * 1023)):
        os.symlink(target, os.fsencode(path) + b"/sticky/to-%d" % number)
    os.symlink("loop", path / "loop")
    (path / "group-a").write_text("one inode\n")
    (path / "sticky/group-a-too").hardlink_to(path / "group-a")
    (path / "zz-group-a").hardlink_to(path / "group-a")
    (path / "not-of-group-a").write_text("one inode\n")
    (path / "empty-linked").hardlink_to(path / "empty")
    os.link(path / "dangling", path / "dangling-linked", follow_symlinks=False)
    os.link(path / "dangling", path / "sticky/dangling-too", follow_symlinks=False)
    os.mkfifo(path / "another-fifo", 0o640)


def _attributes(path: Path) -> None:
    acl = _ACL_VERSION + bytes.fromhex(
        "01000600ffffffff 0200070031d40000 04000400ffffffff 10000700ffffffff 20000400ffffffff"
    )
    os.setxattr(path / "plain", "user.comment", b"\x00binary\xff")
    os.setxattr(path / "plain", "user.another", b"")
    os.setxattr(path / "sticky", "user.on-a-directory", b"yes")
    os.setxattr(path / "large", "system.posix_acl_access", acl)
    os.setxattr(path / "sticky", "system.posix_acl_default", acl)
    os.setxattr(path / "another-fifo", "system.posix_acl_access", acl)
    for number in range(20):
        os.setxattr(path / "set-uid", b"user.%d \xff=%%" % number, bytes([number]) * 60)


def _for_root(path: Path) -> None:
    for mode in (0, 0o7, 0o1644, 0o2644, 0o4000, 0o7777):
        (path / f"mode-{mode:o}").write_text("the same in all of them\n")
        (path / f"mode-{mode:o}").chmod(mode)
        (path / f"directory-{mode:o}").mkdir()
        (path / f"directory-{mode:o}").chmod(mode)
    os.mknod(path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(path / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 200_000))
    os.chown(path / "plain", 1000, 33)
    os.chown(path / "dangling", 4_000_000_000, 5, follow_symlinks=False)
    os.chown(path / "sticky", 65534, 65534)
    (path / "capable").write_bytes(b"#!/bin/sh\n# may bind low ports\n")
    (path / "capable").chmod(0o755)
    os.setxattr(path / "capable", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    (path / "capable-too").write_bytes(b"#!/bin/sh\n# may bind low ports\n")
    (path / "capable-too").chmod(0o4755)  # and for the root of one user namespace alone
    os.setxattr(
        path / "capable-too",
        "security.capability",
        bytes.fromhex("0000000300040000000000000000000000000000a0860100"),
    )


def _times(path: Path) -> None:
    os.utime(path / "plain", ns=(0, 1_234_567_890_123_456_789))
    os.utime(path / "same-content", ns=(0, -1))
    os.utime(path / "set-uid", ns=(0, 2**31 * 10**9 + 1))
    os.utime(path / "dangling", ns=(0, 1), follow_symlinks=False)
    os.utime(path / "fifo", ns=(0, 999_999_999))
    os.utime(path / "another-fifo", ns=(0, 2**31 * -(10**9)))
    os.utime(path / "large", ns=(0, 10_413_792_000 * 10**9 + 1))  # 2300: more nanoseconds than 64 bits have
    os.utime(path / "empty", ns=(0, -(10**9) - 1))
    os.utime(path / "dir \udcfe", ns=(0, 15_032_385_535 * 10**9 + 999_999_999))  # the last that ext4 can
    os.utime(path / "sticky", ns=(0, 10**18 + 7))
    os.utime(path, ns=(0, 10**18 + 9))
    (path / "closed").chmod(0o500)


def _entries(root: Path) -> Iterator[tuple[bytes, tuple[bytes, os.stat_result]]]:
    top = os.fsencode(root)
    pending = [b""]
    while pending:
        path = pending.pop()
        full = top + b"/" + path if path else top
        info = os.lstat(full)
        if stat.S_ISSOCK(info.st_mode):
            continue  # belongs to a process, not to a tree
        yield path, (full, info)
        if stat.S_ISDIR(info.st_mode):
            pending += [path + b"/" + name if path else name for name in os.listdir(full)]


def _groups(entries: dict[bytes, tuple[bytes, os.stat_result]]) -> dict[bytes, tuple[str, ...]]:
    by_inode: dict[tuple[int, int], list[bytes]] = {}
    for path, (_, info) in entries.items():
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            by_inode.setdefault((info.st_dev, info.st_ino), []).append(path)
    return {path: tuple(map(_shown, sorted(paths))) for paths in by_inode.values() if len(paths) > 1 for path in paths}


def _facts(full: bytes, info: os.stat_result, hardlinks: tuple[str, ...]) -> _Facts:
    is_file, is_link = stat.S_ISREG(info.st_mode), stat.S_ISLNK(info.st_mode)
    is_device = stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)
    return _Facts(
        type=stat.filemode(info.st_mode)[0],
        mode=f"{stat.S_IMODE(info.st_mode):04o}",
        uid=info.st_uid,
        gid=info.st_gid,
        mtime_ns=info.st_mtime_ns,
        size=info.st_size if is_file else 0,
        content=_digest(full) if is_file else "",
        target=_shown(os.readlink(full)) if is_link else "",
        device=(os.major(info.st_rdev), os.minor(info.st_rdev)) if is_device else (0, 0),
        xattrs={name: os.getxattr(full, name, follow_symlinks=False) for name in _xattr_names(full)},
        hardlinks=hardlinks,
    )


def _xattr_names(full: bytes) -> list[str]:
    names = os.listxattr(full, follow_symlinks=False)
    return sorted(name for name in names if name not in _OF_THE_HOST)


def _digest(full: bytes) -> str:
    with open(full, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace") or "."
