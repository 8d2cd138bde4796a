"""Opens tar archives in the usual compressions, told apart by their first bytes, never by their name."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, Protocol, cast

from volt_core.errors import ArchiveInvalid, NotFoundError
from volt_core.names import shown

_XZ_MEMORY = 256 * 1024 * 1024  # bytes; xz -9 needs 65 MiB, more is an attack or --ultra
_ZSTD_WINDOW = 128 * 1024 * 1024  # bytes; what the zstd tool itself accepts without --long
# Bytes that are decompressed at a time. Neither decoder limits what comes out: at the best ratio that its format
# can have, this much becomes about 32 MiB.
_XZ_CHUNK = 4 * 1024
_ZSTD_CHUNK = 1024
_MAGIC_SIZE = 6


class _Decompressed(io.RawIOBase):
    """A decompressed stream whose faults name the compression instead of a codec's internals."""

    def __init__(self, inner: IO[bytes], name: str, faults: tuple[type[Exception], ...]) -> None:
        self._inner = inner
        self._name = name
        self._faults = faults

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._inner.read(len(buffer))
        except EOFError as error:
            raise ArchiveInvalid(f"The {self._name} stream ends too early", hint="Fetch the file again.") from error
        except self._faults as error:
            raise ArchiveInvalid(
                f"The {self._name} stream is damaged: {error}", hint="Fetch the file again."
            ) from error
        buffer[: len(data)] = data
        return len(data)


class _Decoder(Protocol):
    """What the decoders of xz and zstd have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Frames(io.RawIOBase):
    """One or more compressed frames, one behind the other, each with a decoder of its own."""

    def __init__(
        self, source: IO[bytes], new_decoder: Callable[[], _Decoder], chunk: int, padding: bytes = b""
    ) -> None:
        self._source = source
        self._new_decoder = new_decoder
        self._chunk = chunk
        self._padding = padding
        self._decoder = new_decoder()
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._ready:
            data = self._next_input()
            if data is None:
                return b""
            self._ready = memoryview(self._decoder.decompress(data))
        answer, self._ready = self._ready[:size], self._ready[size:]
        return bytes(answer)

    def _next_input(self) -> bytes | None:
        """Return compressed bytes for the present decoder, a new one where a frame has ended; None at the end."""
        if not self._decoder.eof:
            data = self._source.read(self._chunk)
            if not data:
                raise EOFError
            return data
        data = self._decoder.unused_data.lstrip(self._padding)
        while not data:
            data = self._source.read(self._chunk)
            if not data:
                return None
            data = data.lstrip(self._padding)
        self._decoder = self._new_decoder()
        return data


class _Peekable(io.RawIOBase):
    """Gives back the first bytes that were read to look at them; works on pipes."""

    def __init__(self, head: bytes, source: IO[bytes]) -> None:
        self._head = head
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._head[: len(buffer)] or self._source.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def open_tar_stream(source: IO[bytes]) -> Iterator[BinaryIO]:
    """Give the uncompressed bytes of `source`: plain, gzip, bzip2, xz or zstd.

    `source` may be a pipe; it stays the caller's. Reading raises :class:`ArchiveInvalid` on damage.
    """
    head = b""
    while len(head) < _MAGIC_SIZE and (more := source.read(_MAGIC_SIZE - len(head))):
        head += more
    raw = io.BufferedReader(_Peekable(head, source), 1024 * 1024)
    inner: IO[bytes]
    faults: tuple[type[Exception], ...] = (OSError,)
    if head.startswith(b"\x1f\x8b"):
        name, inner = "gzip", cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb"))
        faults = (OSError, zlib.error)
    elif head.startswith(b"BZh"):
        name, inner = "bzip2", bz2.BZ2File(raw)
    elif head.startswith(b"\xfd7zXZ\0"):
        frames = _Frames(raw, lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), _XZ_CHUNK, padding=b"\0")
        name, inner = "xz", cast(IO[bytes], frames)
        faults = (OSError, lzma.LZMAError)
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        # Its stream_reader takes a stream that was cut off for one that has ended.
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        name, inner = "zstd", cast(IO[bytes], _Frames(raw, decompressor.decompressobj, _ZSTD_CHUNK))
        faults = (OSError, zstandard.ZstdError)
    else:
        yield raw
        return
    with io.BufferedReader(_Decompressed(inner, name, faults), 1024 * 1024) as stream:
        yield cast(BinaryIO, stream)


def open_archive(path: str) -> BinaryIO:
    """Open a file for :func:`open_tar_stream`. Raises :class:`NotFoundError`."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise NotFoundError(f"Cannot read {shown(path)}: {error.strerror}", hint="Check the path.") from error
