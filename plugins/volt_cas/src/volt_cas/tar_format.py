"""Reading tar headers from an untrusted stream: ustar, GNU, pax, and both families of sparse files.

The standard library's tarfile is not used, because the input is hostile. It recurses once per chained
extension header, reads an extension of any announced size into memory, takes a damaged header for the end
of the archive, and in the Pythons of stable distributions its header expressions take quadratic time
(CVE-2024-6232). Here every loop is bounded by :class:`Limits`, and what is not understood is refused.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Literal

import msgspec

from volt_cas import below
from volt_cas.record import NANOSECONDS
from volt_core.errors import ArchiveInvalid

BLOCK = 512
CHUNK = 1024 * 1024
_ZEROS = bytes(BLOCK)
_OCTAL = re.compile(rb"[0-7]{0,24}\Z")
_DECIMAL = re.compile(rb"[0-9]{1,20}\Z")
_TIME = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]*))?\Z")
_WITH_DATA = b"0\x007S"
_NO_DATA = b"123456"
_INT64 = 2**63

Segments = tuple[tuple[int, int], ...]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much an archive may ask for."""

    entries: int = 2_000_000
    """Members, and directories that are only implied by a path."""
    content: int = 64 << 30
    """Bytes of all files together, holes included."""
    metadata: int = 256 << 20
    """Bytes of all names, targets and attributes together: they are in memory until the last member was read."""
    header: int = 4 << 20
    """Bytes of headers in front of one member: pax records, long names, sparse maps."""
    path: int = 65535
    """Bytes of one path: trees have longer ones than a system call takes, and come back from their own archives."""
    depth: int = 1024
    """Directories in one path."""


class Member(msgspec.Struct, kw_only=True):
    """One member as its headers tell it; only the numbers are checked, not the names."""

    name: bytes
    type: Literal["f", "h", "l", "c", "b", "d", "p"]
    """As in :class:`EntryType`, and ``h`` for a hard link."""
    mode: int
    uid: int
    gid: int
    seconds: int
    nanoseconds: int
    size: int = 0
    """Of the content, holes included."""
    linkname: bytes = b""
    major: int = 0
    minor: int = 0
    extensions: dict[bytes, bytes] = {}
    """Pax records that this module does not interpret."""
    segments: Segments | None = None
    """Where the stored bytes belong, of a sparse file."""


class TarReader:
    """Iterates over the members of a stream, front to back; nothing is read beyond the end marker."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._offset = 0
        self._stored = 0  # bytes of the current member's data that were not read yet
        self._padding = 0
        self._budget = 0
        self._global: dict[bytes, bytes] = {}
        self._last = b""
        self._is_tar = False

    def __iter__(self) -> Iterator[Member]:
        while (member := self._next()) is not None:
            self._last = member.name
            yield member

    def content(self, member: Member) -> Iterator[tuple[int, bytes]]:
        """Yield the stored bytes of the member just given, each piece with its offset in the file."""
        for start, length in ((0, member.size),) if member.segments is None else member.segments:
            position = start
            while position < start + length:
                data = self._exactly(min(CHUNK, start + length - position))
                self._stored -= len(data)
                yield position, data
                position += len(data)

    def _next(self) -> Member | None:
        self._skip(self._stored)
        block = self._exactly(self._padding + BLOCK)[self._padding :]
        self._stored = self._padding = 0
        self._budget = self._limits.header - BLOCK
        records: list[tuple[bytes, bytes]] = []
        long_name = long_link = None
        while True:
            if block == _ZEROS:
                if records or long_name or long_link:
                    raise self.invalid("the archive ends behind an extension header")
                return None
            self._check_sum(block)
            self._is_tar = True
            kind = block[156:157]
            if kind in b"LKxXg":
                data = self._header_bytes(self._number(block[124:136], "size"), padded=True)
                if kind == b"L":
                    long_name = data.partition(b"\0")[0]
                elif kind == b"K":
                    long_link = data.partition(b"\0")[0]
                elif kind == b"g":
                    self._update_global(data)
                else:
                    records += self._pax_records(data)
            elif kind == b"V":  # the volume's label
                self._skip_padded(self._number(block[124:136], "size"))
            else:
                return self._member(block, records, long_name, long_link)
            block = self._header_bytes(BLOCK)

    def _member(
        self, block: bytes, records: list[tuple[bytes, bytes]], long_name: bytes | None, long_link: bytes | None
    ) -> Member:
        pax: dict[bytes, bytes] = {}
        if records or self._global:
            # An empty value takes a record back, but an extended attribute may be empty.
            found = {**self._global, **dict(records)}
            pax = {key: value for key, value in found.items() if value or b".xattr." in key}
        name = pax.pop(b"path", b"") or long_name or _name_of(block)
        self._last = name
        kind = block[156:157]
        if kind not in _WITH_DATA and kind not in _NO_DATA and kind != b"D":
            raise self.invalid(f"its type {kind!r} is not known")
        is_old_directory = kind == b"\0" and name.endswith(b"/")
        stored = self._decimal(pax.pop(b"size"), "size") if b"size" in pax else self._number(block[124:136], "size")
        if kind in _WITH_DATA and not is_old_directory:
            self._stored, self._padding = stored, -stored % BLOCK
        elif kind == b"D":
            self._skip_padded(stored)
        seconds, nanoseconds = self._time(pax.pop(b"mtime", None), block)
        member = Member(
            name=name,
            type="d" if is_old_directory else _TYPES[kind],
            mode=self._number(block[100:108], "mode") & 0o7777,
            uid=self._identity(pax.pop(b"uid", None), block[108:116], "uid"),
            gid=self._identity(pax.pop(b"gid", None), block[116:124], "gid"),
            seconds=seconds,
            nanoseconds=nanoseconds,
            size=self._stored,
            linkname=pax.pop(b"linkpath", b"") or long_link or block[157:257].partition(b"\0")[0],
        )
        if kind in b"34":
            member.major = self._device(block[329:337])
            member.minor = self._device(block[337:345])
        if kind == b"S":
            self._old_sparse(member, block)
        elif member.type == "f":
            self._pax_sparse(member, pax, records)
        member.extensions = pax
        self._last = member.name
        return member

    def _old_sparse(self, member: Member, block: bytes) -> None:
        """GNU's own sparse files: the map begins in the header and goes on in blocks behind it."""
        fields, more = [block[386 + 12 * i : 398 + 12 * i] for i in range(8)], block[482]
        member.size = self._number(block[483:495], "real size")
        while more:
            extension = self._header_bytes(BLOCK)
            fields += [extension[12 * i : 12 * i + 12] for i in range(42)]
            more = extension[504]
        used = [field for field in fields if field[0]]
        numbers = [self._number(field, "sparse map") for field in used]
        self._set_segments(member, numbers)

    def _pax_sparse(self, member: Member, pax: dict[bytes, bytes], records: list[tuple[bytes, bytes]]) -> None:
        """The pax formats 0.0 and 0.1, whose map is in the records, and 1.0, whose map precedes the data."""
        sparse = {key: value for key, value in pax.items() if key.startswith(b"GNU.sparse.")}
        if not sparse:
            return
        for key in sparse:
            del pax[key]
        member.name = sparse.get(b"GNU.sparse.name") or member.name
        size = sparse.get(b"GNU.sparse.realsize") or sparse.get(b"GNU.sparse.size")
        if size is None:
            raise self.invalid("it is sparse but has no real size")
        member.size = self._decimal(size, "real size")
        if b"GNU.sparse.map" in sparse:
            texts = sparse[b"GNU.sparse.map"].split(b",")
        elif sparse.get(b"GNU.sparse.major") == b"1":
            texts = self._map_before_data()
        else:
            texts = [value for key, value in records if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
        self._set_segments(member, [self._decimal(text, "sparse map") for text in texts])

    def _map_before_data(self) -> list[bytes]:
        lines: list[bytes] = []
        rest = b""
        wanted = 1
        while len(lines) < wanted:
            if self._stored < BLOCK:
                raise self.invalid("its sparse map is cut off")
            block = self._header_bytes(BLOCK)
            self._stored -= BLOCK
            *complete, rest = (rest + block).split(b"\n")
            lines += complete
            if lines:
                wanted = 1 + 2 * self._decimal(lines[0], "sparse map")
        return lines[1:wanted]

    def _set_segments(self, member: Member, numbers: list[int]) -> None:
        if len(numbers) % 2:
            raise self.invalid("its sparse map is cut off")
        segments = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        end = 0
        for start, length in segments:
            if start < end or start + length > member.size:
                raise self.invalid("its sparse map contradicts itself")
            end = start + length
        if sum(length for _, length in segments) != self._stored:
            raise self.invalid("its sparse map does not fit its size")
        member.segments = segments

    def _update_global(self, data: bytes) -> None:
        self._global.update(self._pax_records(data))
        if sum(len(key) + len(value) for key, value in self._global.items()) > self._limits.header:
            raise self.invalid("its global records are too large")

    def _pax_records(self, data: bytes) -> list[tuple[bytes, bytes]]:
        found = []
        position = 0
        while position < len(data) and data[position]:  # some writers pad with zeros
            space = data.find(b" ", position, position + 21)
            length = self._decimal(data[position:space], "pax record") if space > 0 else 0
            end = position + length
            key, equals, value = data[space + 1 : end - 1].partition(b"=")
            if end <= space or end > len(data) or data[end - 1] != 0x0A or not key or not equals:
                raise self.invalid("a pax record is damaged")
            found.append((key, value))
            position = end
        return found

    def _time(self, text: bytes | None, block: bytes) -> tuple[int, int]:
        if text is None:
            seconds, nanoseconds = self._signed(block[136:148], "mtime"), 0
        else:
            match = _TIME.match(text)
            if not match:
                raise self.invalid("its mtime is no number")
            sign, whole, fraction = match.groups()
            seconds, nanoseconds = int(whole), int((fraction or b"")[:9].ljust(9, b"0"))
            if sign:
                seconds, nanoseconds = divmod(-(seconds * NANOSECONDS + nanoseconds), NANOSECONDS)
        if not -_INT64 <= seconds < _INT64:
            raise self.invalid("its mtime is out of range")
        return seconds, nanoseconds

    def _identity(self, text: bytes | None, field: bytes, what: str) -> int:
        value = self._number(field, what) if text is None else self._decimal(text, what)
        if value >= 2**32 - 1:
            raise self.invalid(f"its {what} is out of range")
        return value

    def _device(self, field: bytes) -> int:
        value = self._number(field, "device number")
        if value >= 2**32:
            raise self.invalid("its device number is out of range")
        return value

    def _decimal(self, text: bytes, what: str) -> int:
        if not _DECIMAL.match(text):
            raise self.invalid(f"its {what} is no number")
        return int(text)

    def _number(self, field: bytes, what: str) -> int:
        value = self._signed(field, what)
        if value < 0:
            raise self.invalid(f"its {what} is negative")
        return value

    def _signed(self, field: bytes, what: str) -> int:
        value = _value_of(field)
        if value is None:
            raise self.invalid(f"its {what} is no number")
        return value

    def _check_sum(self, block: bytes) -> None:
        wanted = self._signed(block[148:156], "checksum")
        found = _sum_of(block) - sum(block[148:156]) + 8 * 0x20
        # Some old writers added the bytes as signed.
        if wanted != found and wanted != found - 256 * sum(byte > 0x7F for byte in block[:148] + block[156:]):
            raise self.invalid(f"the header at byte {self._offset - BLOCK} behind it is damaged")

    def _header_bytes(self, size: int, *, padded: bool = False) -> bytes:
        whole = size + (-size % BLOCK if padded else 0)
        self._budget -= whole
        if self._budget < 0:
            raise self.invalid(f"its headers take more than {self._limits.header} bytes")
        return self._exactly(whole)[:size]

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        self._offset += len(data)
        if len(data) < size:
            raise self.invalid("the archive is cut off behind it")
        return data

    def _skip_padded(self, size: int) -> None:
        self._skip(size + -size % BLOCK)

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._exactly(min(size, CHUNK)))

    def invalid(self, why: str) -> ArchiveInvalid:
        """Return the error for the present member, or for what never was a tar."""
        if not self._is_tar:
            return ArchiveInvalid(
                "Not a tar, or in a compression that Volt does not know",
                hint="Known are gzip, bzip2, xz and zstd.",
            )
        shown = below.shown(self._last[:200]) if self._last else "(first header)"
        return ArchiveInvalid(f"Invalid archive at '{shown}': {why}", hint="Nothing of it was kept.")


_TYPES: dict[bytes, Literal["f", "h", "l", "c", "b", "d", "p"]] = {
    b"0": "f", b"\0": "f", b"7": "f", b"S": "f", b"1": "h", b"2": "l", b"3": "c", b"4": "b", b"5": "d", b"D": "d",
    b"6": "p",
}  # fmt: skip


def escape_xattr_name(name: bytes) -> bytes:
    """Return the name as GNU tar has it in the key of a pax record, which ends at the first ``=``."""
    return name.replace(b"%", b"%25").replace(b"=", b"%3D")


def unescape_xattr_name(name: bytes) -> bytes:
    """Undo :func:`escape_xattr_name`; what else follows a ``%`` stays, as GNU tar has it."""
    return name.replace(b"%3D", b"=").replace(b"%25", b"%")


@functools.lru_cache(4096)
def _value_of(field: bytes) -> int | None:
    """Return the number in a field of a header, None if there is none. Most fields say what others have said."""
    if field[0] & 0x80:  # base 256: a marker bit, then two's complement
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if field[0] & 0x40 else value
    text = field.partition(b"\0")[0].strip()
    return int(text or b"0", 8) if _OCTAL.match(text) else None


def _sum_of(block: bytes) -> int:
    """Return the sum of the bytes: one more than the low half of Adler-32, which is exact for up to 256 of them."""
    return (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2


def _name_of(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name
