"""The contract of a source of images."""

from __future__ import annotations

import abc
from typing import ClassVar

import msgspec

from volt_core.contracts.backend import Probe
from volt_core.contracts.progress import Progress
from volt_core.contracts.store import MtimePolicy, PutResult, Ref, Store
from volt_core.models.image import ImageConfig


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch.

    `reference` is the text behind the scheme: the suite of a distribution, the path of an archive.
    """

    scheme: str
    reference: str
    variant: str = ""
    include: tuple[str, ...] = ()
    """Packages to add, where the source knows packages."""
    mirror: str = ""
    mtime: MtimePolicy = MtimePolicy.KEEP


class FetchedImage(msgspec.Struct, frozen=True, kw_only=True):
    """A tree that is now in the store, with its ref, and how it was made."""

    result: PutResult
    config: ImageConfig
    source: str


class ImageSource(abc.ABC):
    """Brings root file systems into the store, each file once, nothing unpacked in between.

    I-1: NAME and SCHEMES are words in lower case; an instance is made without arguments, for each command.
    """

    NAME: ClassVar[str]
    SCHEMES: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def probe(self) -> Probe:
        """I-2: Can this host fetch from here; quick, without network traffic."""

    @abc.abstractmethod
    def fetch(self, request: ImageRequest, ref: Ref, store: Store, progress: Progress) -> FetchedImage:
        """I-3: Put the image's tree into `store` under `ref`.

        `ref` comes without digest; :func:`volt_core.images.records.complete` adds the image's configuration to it.

        I-4: Raises :class:`BackendError` when a tool fails, :class:`StoreError` when the content is not acceptable.
        On failure no ref has moved.

        I-5: The reference is what a user typed. Raises :class:`UsageError` or :class:`NotFoundError` for what is none.

        I-6: Beside the store nothing is left, whatever happens.
        """
