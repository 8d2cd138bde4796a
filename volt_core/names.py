"""Names of workloads, images, refs and digests: one rule for each, checked at every border.

One name space holds all kinds of workloads. The rule is narrower than what systemd, nspawn and DNS
labels allow, so that one name serves for a unit, a machine, a host name and a directory.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from volt_core.errors import InvalidName

NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z"
DIGEST_PREFIX = "sha256:"
USE_PREFIX = "use/"
"""Of the refs that pin trees which are in use; ``use/container/NAME`` is a container's."""

# Texts: a pattern that a command does not need is not compiled for it.
_REPOSITORY = r"^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*\Z"
_TAG = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z"
_REF_PART = r"^[A-Za-z0-9_][A-Za-z0-9._:@+-]{0,199}\Z"
_DIGEST = r"^sha256:[0-9a-f]{64}\Z"
_MAX_REFERENCE = 255


def shown(text: str) -> str:
    """Quote user-given text for a message: control characters escaped, shortened when long."""
    plain = text.encode("unicode_escape").decode("ascii")
    return f"'{plain if len(plain) <= 80 else plain[:77] + '...'}'"


def check_name(name: str) -> str:
    """Return `name` if it can name a workload, else raise :class:`InvalidName`."""
    if not re.match(NAME_PATTERN, name):
        raise InvalidName(
            f"Invalid name {shown(name)}",
            hint="Use 1 to 63 lower-case letters, digits and dashes, starting with a letter, not ending in a dash.",
        )
    return name


def new_name(prefix: str = "volt") -> str:
    """Return a fresh name for a workload that the user did not name."""
    return f"{prefix}-{os.urandom(4).hex()}"


def is_digest(text: str) -> bool:
    """Tell whether `text` is ``sha256:`` and 64 lower-case hex digits."""
    return re.match(_DIGEST, text) is not None


def check_digest(text: str) -> str:
    """Return `text` if it is a digest, else raise :class:`InvalidName`."""
    if not is_digest(text):
        raise InvalidName(f"Invalid digest {shown(text)}", hint="A digest is 'sha256:' and 64 lower-case hex digits.")
    return text


def check_ref(name: str) -> str:
    """Return `name` if it can name a ref of the store: parts of letters, digits and ``._:@+-`` between slashes."""
    if not _is_ref(name):
        raise InvalidName(
            f"Invalid ref {shown(name)}",
            hint="Use letters, digits and . _ : @ + - in parts separated by '/', each starting with a letter or digit.",
        )
    return name


def _is_ref(name: str) -> bool:
    sound = all(re.match(_REF_PART, part) for part in name.split("/"))
    return sound and len(name) <= _MAX_REFERENCE and not name.endswith(".lock")


class ImageName(NamedTuple):
    """A parsed image name: ``NAME[:TAG]`` or ``NAME@sha256:…``; exactly one of tag and digest is set."""

    repository: str
    tag: str | None
    digest: str | None

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"

    @property
    def ref(self) -> str:
        """The ref that holds this image in the store; only tagged names have one."""
        return f"images/{self.repository}:{self.tag}"


def parse_image_name(text: str) -> ImageName:
    """Parse an image name; a missing tag means ``latest``. Raises :class:`InvalidName`."""
    repository, at, digest = text.partition("@")
    tag: str | None = None
    if not at:
        # A colon behind the last slash separates the tag; one before it would be a registry's port.
        head, slash, last = text.rpartition("/")
        last, colon, tag = last.partition(":")
        repository = head + slash + last
        tag = tag if colon else "latest"
    if (
        len(text) > _MAX_REFERENCE
        or not re.match(_REPOSITORY, repository)
        or (at and not is_digest(digest))
        or (tag is not None and not re.match(_TAG, tag))
    ):
        raise InvalidName(
            f"Invalid image name {shown(text)}",
            hint="Use NAME, NAME:TAG or NAME@sha256:DIGEST with lower-case letters, digits and . _ - in NAME.",
        )
    name = ImageName(repository, tag, digest or None)
    if tag is not None and not _is_ref(name.ref):
        raise InvalidName(f"Invalid image name {shown(text)}", hint="Make it shorter; and no tag may end in '.lock'.")
    return name
