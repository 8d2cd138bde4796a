"""What can be done with images."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from volt_core.contracts import FetchedImage, ImageRequest, MtimePolicy, Progress, PutResult, Ref, Store
from volt_core.contracts.progress import SILENT
from volt_core.errors import ConflictError, ImageNotFound, InvalidName, NotFoundError, StateCorrupt, UsageError
from volt_core.images import records
from volt_core.images.archive import open_archive, open_tar_stream
from volt_core.images.outfile import open_new_file
from volt_core.models.image import DEFAULT_PATH, Image, ImageConfig
from volt_core.names import USE_PREFIX, ImageName, parse_image_name, shown
from volt_core.plugins import Plugins

_SUFFIXES = re.compile(r"\.(tar|tgz|txz|tzst|tbz2?|gz|xz|zst|bz2)\Z", re.IGNORECASE)
_IMPORTED = ImageConfig(env=(f"PATH={DEFAULT_PATH}",), cmd=("/bin/sh",))
_MOST_SHOWN = 5  # names in a hint


class Images:
    """The images of one instance.

    Args:
        store: called when the store is first needed.
        plugins: where image sources come from.
    """

    def __init__(self, store: Callable[[], Store], plugins: Plugins) -> None:
        self._store = store
        self._plugins = plugins

    def all(self) -> list[Image]:
        """Return all images, sorted by name."""
        return [records.from_ref(ref) for ref in self._store().refs(records.PREFIX)]

    def get(self, text: str) -> Image:
        """Return the image that ``NAME[:TAG]`` or ``NAME@sha256:…`` means. Raises :class:`ImageNotFound`."""
        image = self._find(parse_image_name(text))
        if image is None:
            there = [image.name for image in self.all()]
            close = ", ".join(there[:_MOST_SHOWN]) + (", …" if len(there) > _MOST_SHOWN else "")
            hint = f"There are: {close}." if close else "Fetch one: volt image pull debian:bookworm."
            raise ImageNotFound(f"No image is named {shown(text)}", hint=hint)
        return image

    def pull(
        self, text: str, request: ImageRequest, *, refresh: bool = False, progress: Progress = SILENT
    ) -> tuple[Image, FetchedImage | None]:
        """Fetch an image and name it `text`; None beside it says that it was there already.

        Raises :class:`UsageError` if no source knows the scheme, and what the source raises.
        """
        name = _tagged(text)
        source = self._plugins.image_source(request.scheme)()
        existing = self._find(name)
        if existing is not None and not refresh:
            return existing, None
        fetched = source.fetch(request, Ref(name=name.ref, digest=""), self._store(), progress)
        return self.get(str(name)), fetched

    def import_(
        self,
        path: str,
        text: str = "",
        *,
        stdin: BinaryIO | None = None,
        mtime: MtimePolicy = MtimePolicy.KEEP,
        progress: Progress = SILENT,
    ) -> tuple[Image, PutResult]:
        """Import a tar (in any usual compression; ``-`` is `stdin`) or a directory.

        Without `text` the name comes from the file's. Raises :class:`ArchiveInvalid`; no ref has moved then.
        """
        if not path:
            # Else it would mean the current directory.
            raise UsageError("An empty path names nothing", hint="Give a tar or a directory; '.' is the current one.")
        name = _tagged(text or _name_from(path))
        progress.begin(f"importing {name}")
        store = self._store()
        if path != "-" and Path(path).is_dir():
            result = store.put_directory(Path(path), mtime=mtime, progress=progress)
        else:
            with contextlib.ExitStack() as stack:
                source = stdin if path == "-" and stdin is not None else stack.enter_context(_open(path))
                result = store.put_tar(stack.enter_context(open_tar_stream(source)), mtime=mtime, progress=progress)
        if result.files == 0:
            note = "it holds no file: nothing can run from it"
            result = msgspec.structs.replace(result, notes=(*result.notes, note))
        store.set_ref(
            records.complete(Ref(name=name.ref, digest=""), result, _IMPORTED, f"imported from {_as_text(path)}")
        )
        return self.get(str(name)), result

    def tag(self, text: str, new: str) -> Image:
        """Give an image another name; an image that had the name loses it."""
        source = self.get(text)
        image = msgspec.structs.replace(source, name=str(_tagged(new)))
        ref = self._store().find_ref(records.PREFIX + source.name)
        self._store().set_ref(records.to_ref(image, ref.meta if ref else {}))
        return image

    def delete(self, text: str, *, force: bool = False) -> None:
        """Drop a name, also one that is damaged; content that nothing else uses goes with the next gc.

        Raises :class:`ConflictError` if it is the last name of a tree that a workload uses, unless forced:
        the workload goes on, it holds the tree itself.
        """
        try:
            image = self.get(text)
        except StateCorrupt:
            self._store().delete_ref(parse_image_name(text).ref)
            return
        last = sum(other.digest == image.digest for other in self.all()) == 1
        users = [
            ref.name.removeprefix(USE_PREFIX) for ref in self._store().refs(USE_PREFIX) if ref.digest == image.digest
        ]
        if users and last and not force:
            raise ConflictError(
                f"Cannot delete image '{image.name}': used by {', '.join(users[:5])}",
                hint="Delete what uses it first, or use --force to drop just the name.",
            )
        self._store().delete_ref(records.PREFIX + image.name)

    def export(self, text: str, stream: BinaryIO, *, progress: Progress = SILENT) -> None:
        """Write the image's tree as a tar."""
        image = self.get(text)
        progress.begin(f"exporting {image.name}", image.size)
        self._store().export_tar(image.digest, stream, progress=progress)

    def export_file(self, text: str, path: Path, *, progress: Progress = SILENT) -> None:
        """Write the image's tree as a new tar file, which appears when it is complete.

        Raises :class:`~volt_core.errors.AlreadyExists` rather than replace anything.
        """
        image = self.get(text)
        with open_new_file(path) as stream:
            self.export(image.name, stream, progress=progress)

    def _find(self, name: ImageName) -> Image | None:
        if name.digest is None:
            ref = self._store().find_ref(name.ref)
            return records.from_ref(ref) if ref else None
        of_digest = (image for image in self.all() if image.digest == name.digest)
        return next((image for image in of_digest if image.name.rpartition(":")[0] == name.repository), None)


def _tagged(text: str) -> ImageName:
    try:
        name = parse_image_name(text)
    except InvalidName as error:
        # The usual hint offers a digest, too, which nobody can give a tree.
        hint = "Use NAME or NAME:TAG, not too long, with lower-case letters, digits and . _ - in NAME."
        raise InvalidName(error.brief, hint=hint) from error
    if name.digest is not None:
        raise UsageError(f"{shown(text)} names an image by its content", hint="Give NAME or NAME:TAG.")
    return name


def _as_text(path: str) -> str:
    """Return a path, which may be any bytes, as text that can be kept."""
    return os.fsencode(path).decode("utf-8", "replace")


def _name_from(path: str) -> str:
    """Return the image name that a file's name suggests: ``/tmp/App.tar.xz`` gives ``app``."""
    if path == "-":
        raise UsageError("An image from stdin needs a name", hint="volt image import - NAME[:TAG].")
    stem = Path(path).absolute().name
    while _SUFFIXES.search(stem):
        stem = _SUFFIXES.sub("", stem)
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("._-") or "image"


@contextlib.contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    with open_archive(path) as stream:
        mode = stat.S_IFMT(Path(path).stat().st_mode)
        if mode not in (stat.S_IFREG, stat.S_IFIFO):
            raise NotFoundError(f"{shown(path)} is neither a file nor a directory", hint="Give a tar or a directory.")
        yield stream
