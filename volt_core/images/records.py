"""How an image is kept: a ref below ``images/`` whose meta holds its configuration and origin."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from volt_core.contracts import PutResult, Ref
from volt_core.models.image import Image, ImageConfig

PREFIX = "images/"
_KIND = "image"
_config = msgspec.json.Decoder(ImageConfig)


def complete(ref: Ref, result: PutResult, config: ImageConfig, source: str) -> Ref:
    """Return the ref of a freshly stored tree, with all that belongs to the image."""
    image = Image(
        name=ref.name.removeprefix(PREFIX),
        digest=result.digest,
        created=time.time_ns(),
        size=result.bytes,
        files=result.files,
        source=source,
        config=config,
    )
    return to_ref(image, ref.meta)


def to_ref(image: Image, meta: Mapping[str, str] = {}) -> Ref:
    """Return the ref that holds an image; of `meta` what an image does not have stays."""
    return Ref(
        name=PREFIX + image.name,
        digest=image.digest,
        kind=_KIND,
        updated=image.created,
        meta={
            **meta,
            "config": msgspec.json.encode(image.config, order="deterministic").decode(),
            "source": image.source,
            "size": str(image.size),
            "files": str(image.files),
            "created": str(image.created),
        },
    )


def from_ref(ref: Ref) -> Image:
    """Return the image that a ref holds; one that was set by hand has no configuration."""
    return Image(
        name=ref.name.removeprefix(PREFIX),
        digest=ref.digest,
        created=int(ref.meta.get("created", ref.updated)),
        size=int(ref.meta.get("size", 0)),
        files=int(ref.meta.get("files", 0)),
        source=ref.meta.get("source", ""),
        config=_config.decode(ref.meta.get("config", "{}")),
    )
