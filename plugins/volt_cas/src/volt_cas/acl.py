"""POSIX ACLs: the kernel's extended attribute and the text that tar archives carry, with numeric ids."""

from __future__ import annotations

import struct

_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_UNDEFINED = 0xFFFFFFFF
_TAGS = {("user", False): 1, ("user", True): 2, ("group", False): 4, ("group", True): 8, ("mask", False): 16,
         ("other", False): 32}  # fmt: skip
_WORDS = {tag: word for (word, _), tag in _TAGS.items()}
_SHORT = {"u": "user", "g": "group", "m": "mask", "o": "other"}
_BASE = 3


def parse_acl_text(text: bytes, *, default: bool = False) -> bytes | None:
    """Return the attribute's value; None for an ACL that says no more than a mode, or a default ACL that says nothing.

    Raises ValueError, also for a user or group that is named and has no number beside the name.
    """
    entries = []
    for line in text.decode("ascii").replace("\n", ",").split(","):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        word, qualifier, permissions, *number = line.split(":")
        tag = _TAGS.get((_SHORT.get(word, word), bool(qualifier)))
        if (
            tag is None
            or len(permissions) != 3
            or any(c not in (k, "-") for c, k in zip(permissions, "rwx", strict=True))
        ):
            raise ValueError(f"'{line}' is no ACL entry")
        bits = sum(bit for bit, c in zip((4, 2, 1), permissions, strict=True) if c != "-")
        identity = int(number[0] if number else qualifier) if qualifier else _UNDEFINED
        if not 0 <= identity <= _UNDEFINED:
            raise ValueError(f"'{line}' has an impossible number")
        entries.append((tag, identity, bits))
    if len(entries) <= (0 if default else _BASE):
        return None
    packed = b"".join(_ENTRY.pack(tag, bits, identity) for tag, identity, bits in sorted(entries))
    return _VERSION.pack(2) + packed


def render_acl_text(value: bytes) -> bytes | None:
    """Return the text for an attribute's value, or None if it is none that this module knows."""
    if len(value) % _ENTRY.size != _VERSION.size or _VERSION.unpack_from(value) != (2,):
        return None
    lines = []
    for tag, bits, identity in _ENTRY.iter_unpack(value[_VERSION.size :]):
        if tag not in _WORDS or bits > 7:
            return None
        qualifier = "" if identity == _UNDEFINED else str(identity)
        permissions = "".join(letter if bits & bit else "-" for bit, letter in ((4, "r"), (2, "w"), (1, "x")))
        lines.append(f"{_WORDS[tag]}:{qualifier}:{permissions}")
    return ",".join(lines).encode()
