"""Mounting linked trees elsewhere, so that nobody can write through the mount or run what a tree brings as root.

Each mount holds a ref below ``use/mount/``, named by where it is. Whoever unmounts by other means leaves the ref:
gc drops it once the tree is mounted nowhere.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from pathlib import Path

import msgspec

from volt_cas.mounts import root_at
from volt_core.contracts import Ref, Store
from volt_core.errors import AlreadyExists, ConflictError, NotFoundError, StoreError, VoltError
from volt_core.names import DIGEST_PREFIX, USE_PREFIX

MOUNT_PREFIX = f"{USE_PREFIX}mount/"
# The numbers are the same on all architectures.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_CLONE = 1
_EMPTY_PATH = 0x1000
_FROM_DESCRIPTOR = 4
_AT_FDCWD = -100
_READ_ONLY, _NO_SUID, _NO_DEVICES = 1, 2, 4
_PRIVATE = 1 << 18
_NO_FOLLOW = 8


class Mounted(msgspec.Struct, frozen=True, kw_only=True):
    """One mount: where, and of which tree."""

    path: str
    digest: str
    ref: str


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def mount_tree(store: Store, digest: str, directory: Path) -> Mounted:
    """Mount a tree read-only at a directory. Raises :class:`StoreError` without root."""
    _check_root(f"Cannot mount at '{directory}'")
    where = Path(os.path.realpath(directory))
    if not where.is_dir():
        raise NotFoundError(f"Cannot mount at '{directory}': it is no directory", hint="Make it first.")
    ref = Ref(name=ref_of(where), digest=digest, kind="mount", meta={"path": _as_text(where)})
    before = store.find_ref(ref.name)
    if before is not None and _is_mounted(before, where):
        raise AlreadyExists(f"A tree is mounted at '{where}' already", hint=f"volt cas umount {where}")
    store.set_ref(ref)  # before anything uses the tree, so that gc keeps it
    try:
        _bind(store.linked_tree(digest), where)
    except BaseException:
        store.delete_ref(ref.name)
        raise
    return Mounted(path=_as_text(where), digest=digest, ref=ref.name)


def unmount_tree(store: Store, directory: Path) -> Mounted:
    """Take away what :func:`mount_tree` mounted, and its ref. Raises :class:`NotFoundError` for anything else."""
    _check_root(f"Cannot unmount '{directory}'")
    where = Path(os.path.realpath(directory))
    ref = store.find_ref(ref_of(where))
    if ref is None:
        raise NotFoundError(
            f"No tree of the store is mounted at '{directory}'", hint="'volt cas status' lists the refs use/mount/…"
        )
    if _is_mounted(ref, where) and ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(where), _NO_FOLLOW) != 0:
        number = ctypes.get_errno()
        if number == errno.EBUSY:
            raise ConflictError(f"Cannot unmount '{where}': it is in use", hint="Leave it, with shells too.")
        raise OSError(number, os.strerror(number), str(where))
    store.delete_ref(ref.name)
    return Mounted(path=_as_text(where), digest=ref.digest, ref=ref.name)


def ref_of(where: Path) -> str:
    """Return the name of the ref of what is mounted at this real path."""
    return MOUNT_PREFIX + hashlib.sha256(os.fsencode(where)).hexdigest()[:16]


def _is_mounted(ref: Ref, where: Path) -> bool:
    """Tell whether the tree of the ref is there, and not what somebody has mounted in its place."""
    return ref.digest.removeprefix(DIGEST_PREFIX).encode() in root_at(where)


def _check_root(act: str) -> None:
    if os.geteuid() != 0:
        raise StoreError(f"{act}: only root can mount", hint="Use sudo, or 'volt cas checkout' for a copy.")


def _bind(source: Path, target: Path) -> None:
    """Bind `source` to `target`, and never, not even for a moment, in a way that could be written through.

    A mount that is made first and made read-only then would be writable between. Private: what is mounted on it
    must not appear in the store, whose mount it would otherwise share.
    """
    call = ctypes.CDLL(None, use_errno=True).syscall
    tree = _checked(call(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _CLONE | os.O_CLOEXEC), source)
    try:
        wanted = _Attributes(_READ_ONLY | _NO_SUID | _NO_DEVICES, 0, _PRIVATE, 0)
        size = ctypes.c_size_t(ctypes.sizeof(wanted))
        _checked(call(_MOUNT_SETATTR, tree, b"", _EMPTY_PATH, ctypes.byref(wanted), size), source)
        _checked(call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _FROM_DESCRIPTOR), target)
    finally:
        os.close(tree)


def _checked(result: int, path: Path) -> int:
    if result >= 0:
        return result
    number = ctypes.get_errno()
    if number == errno.ENOSYS:
        raise VoltError("Cannot mount: this needs Linux 5.12", hint="Use 'volt cas checkout'.")
    raise OSError(number, os.strerror(number), str(path))


def _as_text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
