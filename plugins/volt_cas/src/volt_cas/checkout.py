"""Making a stored tree on disk: by reflink, by copy, or by hard links into the store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from volt_cas import below
from volt_cas.errors import explained
from volt_cas.layout import Layout
from volt_cas.metadata import ACL_ACCESS, ACL_DEFAULT, Applier, metadata_of, read_xattrs
from volt_cas.objects import open_object, read_directory, read_groups, read_tree
from volt_cas.record import (
    BlockEntry,
    CharacterEntry,
    DirectoryEntry,
    FifoEntry,
    FileEntry,
    Metadata,
    Node,
    SymlinkEntry,
)
from volt_cas.sparse import copy_content
from volt_cas.staging import open_staging
from volt_cas.usage import content_bytes
from volt_cas.variants import Linker
from volt_core import fs
from volt_core.contracts import CheckoutMode, CheckoutResult, Progress, is_watched
from volt_core.errors import AlreadyExists, NotFoundError, StoreError
from volt_core.native import find_extension
from volt_core.native.checkout import Left, fill_tree

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409
# Not root, or a number that the file system cannot keep: XFS has 18 bits for the minor one.
_NO_DEVICE = (errno.EPERM, errno.EINVAL)
_NO_REFLINK = (errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)


def check_out(
    layout: Layout, digest: bytes, destination: Path, *, mode: CheckoutMode, progress: Progress
) -> CheckoutResult:
    """Make the tree at `destination`. The caller keeps gc away."""
    read_tree(layout, digest)
    with explained(f"Cannot check out to '{destination}'", destination), _made(destination):
        if mode is CheckoutMode.LINK:
            with open_staging(layout) as staging:
                return Checkout(layout, progress, staging=staging).run(digest, destination)
        reflink = mode in (CheckoutMode.AUTO, CheckoutMode.REFLINK)
        checkout = Checkout(layout, progress, reflink=reflink, insist=mode is CheckoutMode.REFLINK)
        return checkout.run(digest, destination)


@contextlib.contextmanager
def _made(destination: Path) -> Iterator[None]:
    """Have an empty directory for the block; when it fails, all is as it was before."""
    before: Metadata | None = None
    if os.path.lexists(destination):
        if destination.is_symlink() or not destination.is_dir():
            raise AlreadyExists(f"Cannot check out to '{destination}': it exists", hint="Choose another path.")
        if any(destination.iterdir()):
            raise AlreadyExists(f"Cannot check out to '{destination}': it is not empty", hint="Choose another path.")
        before = metadata_of(destination.stat(), read_xattrs(os.fspath(destination))[0])
    else:
        try:
            destination.mkdir(mode=0o700)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"Cannot check out to '{destination}': '{destination.parent}' does not exist", hint="Make it first."
            ) from error
    try:
        yield
    except BaseException:
        if before is None:
            fs.remove_tree(destination)
        else:
            _empty(destination, before)
        raise


def _empty(folder: Path, metadata: Metadata) -> None:
    """Remove what is in the folder and give it its metadata back."""
    for child in folder.iterdir():
        fs.remove_tree(child)
    descriptor = os.open(folder, below.FOLDER)
    try:
        Applier().apply(descriptor, metadata)
    finally:
        os.close(descriptor)


class _Frame(msgspec.Struct):
    """A directory that is being filled, or of which only something is left: the rest is there already."""

    path: bytes
    metadata: Metadata
    entries: Iterator[Node]
    left: Left | None = None


class Checkout:
    """One run. With `staging` it makes hard links, with `reflink` it tries those, else it copies.

    With `insist` a file that cannot be reflinked is an error.
    """

    def __init__(
        self,
        layout: Layout,
        progress: Progress,
        *,
        reflink: bool = False,
        insist: bool = False,
        staging: Path | None = None,
    ) -> None:
        self._layout = layout
        self._progress = progress
        self._reflink = reflink
        self._insist = insist
        self._applier = Applier()
        self._linker = Linker(layout, staging, self._applier) if staging else None
        self._groups: dict[bytes, int] = {}
        self._first: dict[int, bytes] = {}
        self._root = -1
        self._files = 0
        self._bytes = 0
        self._linked = 0
        self._reflinked = 0

    def run(self, digest: bytes, destination: Path) -> CheckoutResult:
        """Fill the empty directory `destination`."""
        tree = read_tree(self._layout, digest)
        self._groups = read_groups(self._layout, tree)
        total = content_bytes(self._layout, digest, {}) if is_watched(self._progress) else None
        self._progress.begin("Checking out", total)
        self._root = os.open(destination, below.FOLDER)
        try:
            for name in (ACL_ACCESS, ACL_DEFAULT):  # a default ACL from above would reach everything made below
                with contextlib.suppress(OSError):
                    os.removexattr(self._root, name)
            os.fchmod(self._root, 0o700)
            left = self._make_natively(digest)
            if b"" in left:
                self._fill(_Frame(b"", tree.metadata, self._children(tree.digest), left[b""]))
            if self._linker:
                self._linker.keep()
        finally:
            os.close(self._root)
        return CheckoutResult(
            files=self._files,
            bytes=self._bytes,
            linked=self._linked,
            reflinked=self._reflinked,
            notes=self._applier.notes(),
        )

    def _make_natively(self, digest: bytes) -> Left:
        """Have the extension make of the tree what it can; return what is left."""
        native = find_extension()
        if native is None:
            return {b"": None}
        with below.opened(self._layout.path) as store:
            report = fill_tree(
                native,
                store,
                self._root,
                digest,
                mode=self._mode(),
                owner=self._applier.owner,
                grouped=self._groups,
                max_links=self._linker.max_links if self._linker else None,
                advance=self._progress.advance,
            )
        self._files += report.files
        self._bytes += report.bytes
        self._linked += report.linked
        self._reflinked += report.reflinked
        self._applier.count(report.foreign_owners, report.devices, report.refused_xattrs)
        return report.left

    def _mode(self) -> CheckoutMode:
        if self._linker:
            return CheckoutMode.LINK
        if self._insist:
            return CheckoutMode.REFLINK
        return CheckoutMode.AUTO if self._reflink else CheckoutMode.COPY

    def _children(self, digest: bytes, depth: int = 0) -> Iterator[Node]:
        return iter(read_directory(self._layout, digest, depth).entries)

    def _fill(self, top: _Frame) -> None:
        frames = [top]
        folder = os.dup(self._root)
        try:
            while True:
                frame = frames[-1]
                child = self._make_until_directory(folder, frame)
                if child is not None:
                    if frame.left is None:
                        os.mkdir(child.name, 0o700, dir_fd=folder)
                    entered = os.open(child.name, below.FOLDER, dir_fd=folder)
                    os.close(folder)
                    folder = entered
                    path = below.join(frame.path, child.name)
                    left = None if frame.left is None else frame.left[child.name]
                    frames.append(_Frame(path, child.metadata, self._children(child.digest, len(frames)), left))
                    continue
                # Up before the mode is set: it may forbid that.
                parent = os.open(b"..", below.FOLDER, dir_fd=folder) if len(frames) > 1 else os.dup(folder)
                try:
                    self._applier.apply(folder, self._applier.applicable(frame.metadata))
                finally:
                    os.close(folder)
                    folder = parent
                frames.pop()
                if not frames:
                    return
        finally:
            os.close(folder)

    def _make_until_directory(self, folder: int, frame: _Frame) -> DirectoryEntry | None:
        for entry in frame.entries:
            if frame.left is not None and entry.name not in frame.left:
                continue
            if isinstance(entry, DirectoryEntry):
                return entry
            self._make(folder, frame.path, entry)
        return None

    def _make(self, folder: int, path: bytes, entry: Node) -> None:
        if isinstance(entry, FileEntry):
            self._files += 1
            self._bytes += entry.size
        group = self._groups.get(below.join(path, entry.name), 0) if self._groups else 0
        # Another name in a linked checkout is one more link of a stored inode, which can have so many.
        is_linked = self._linker is not None and isinstance(entry, FileEntry) and entry.size > 0
        if group in self._first and not is_linked:
            self._link_to(self._first[group], folder, entry.name)
            self._advance(entry)
            return
        made = True
        match entry:
            case FileEntry():
                self._make_file(folder, entry)
            case SymlinkEntry():
                os.symlink(entry.target, entry.name, dir_fd=folder)
                self._applier.apply_at(folder, entry.name, self._applier.applicable(entry.metadata), symlink=True)
            case _:
                made = self._make_special(folder, entry)
        if group and made:
            self._first[group] = below.join(path, entry.name)

    def _make_file(self, folder: int, entry: FileEntry) -> None:
        if self._linker is not None and entry.size:
            self._linker.link(entry, folder)
            self._linked += 1
            self._advance(entry)
            return
        target = os.open(entry.name, _CREATE, 0o600, dir_fd=folder)
        try:
            if entry.size:
                source = open_object(self._layout, entry.digest, entry.size)
                try:
                    if self._clone(source, target):
                        self._advance(entry)
                    else:
                        copy_content(source, target, entry.size, self._progress.advance)
                        self._progress.advance(0, 1)
                finally:
                    os.close(source)
            else:
                self._advance(entry)
            self._applier.apply(target, self._applier.applicable(entry.metadata))
        finally:
            os.close(target)

    def _advance(self, entry: Node) -> None:
        if isinstance(entry, FileEntry):
            self._progress.advance(entry.size, 1)

    def _clone(self, source: int, target: int) -> bool:
        if not self._reflink:
            return False
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError as error:
            if error.errno not in _NO_REFLINK:
                raise
            if self._insist:
                raise StoreError(
                    f"Cannot reflink: the file system here {_why_no_reflink(error)}",
                    hint="Use --copy, or leave out --reflink: then it is a copy where it must be.",
                ) from error
            self._reflink = False  # it will not work for the next one either
            return False
        self._reflinked += 1
        return True

    def _make_special(self, folder: int, entry: Node) -> bool:
        metadata = self._applier.applicable(entry.metadata)
        try:
            match entry:
                case CharacterEntry() | BlockEntry():
                    kind = stat.S_IFCHR if isinstance(entry, CharacterEntry) else stat.S_IFBLK
                    os.mknod(entry.name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=folder)
                case FifoEntry():
                    os.mkfifo(entry.name, 0o600, dir_fd=folder)
        except OSError as error:
            if error.errno not in _NO_DEVICE:
                raise
            self._applier.left_out_device()
            return False
        self._applier.apply_at(folder, entry.name, metadata, symlink=False)
        return True

    def _link_to(self, first: bytes, folder: int, name: bytes) -> None:
        parent, source = below.split(first)
        descriptor = below.open_folder(self._root, parent)
        try:
            os.link(source, name, src_dir_fd=descriptor, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(descriptor)


def _why_no_reflink(error: OSError) -> str:
    return "is not the store's" if error.errno == errno.EXDEV else "cannot share blocks between files"
