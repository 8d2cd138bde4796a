"""Opens tar archives in the usual compressions, told apart by their first bytes, never by their name."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

from volt_core.errors import ArchiveInvalid, NotFoundError
from volt_core.names import shown

_XZ_MEMORY = 256 * 1024 * 1024  # bytes; xz -9 needs 65 MiB, more is an attack or --ultra
_ZSTD_WINDOW = 128 * 1024 * 1024  # bytes; what the zstd tool itself accepts without --long
_MAGIC_SIZE = 6


class _Decompressed(io.RawIOBase):
    """A decompressed stream whose faults name the compression instead of a codec's internals."""

    def __init__(self, inner: IO[bytes], name: str) -> None:
        self._inner = inner
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._inner.read(len(buffer))
        except EOFError as error:
            raise ArchiveInvalid(f"The {self._name} stream ends too early", hint="Fetch the file again.") from error
        except (OSError, lzma.LZMAError, zlib.error) as error:
            raise ArchiveInvalid(
                f"The {self._name} stream is damaged: {error}", hint="Fetch the file again."
            ) from error
        except _zstd_error() as error:
            raise ArchiveInvalid(f"The zstd stream is damaged: {error}", hint="Fetch the file again.") from error
        buffer[: len(data)] = data
        return len(data)


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError


class _XzFile(io.RawIOBase):
    """xz with a memory limit, which :class:`lzma.LZMAFile` cannot have; takes concatenated streams."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
        self._fed = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while True:
            if self._decoder.eof:
                # Padding between streams is a multiple of four zero bytes.
                rest = self._decoder.unused_data.lstrip(b"\0") or self._source.read(64 * 1024).lstrip(b"\0")
                if not rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
            elif self._decoder.needs_input:
                rest = self._source.read(64 * 1024)
                if not rest:
                    raise EOFError
            else:
                rest = b""
            data = self._decoder.decompress(rest, size)
            if data:
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
    if head.startswith(b"\x1f\x8b"):
        name, inner = "gzip", cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb"))
    elif head.startswith(b"BZh"):
        name, inner = "bzip2", bz2.BZ2File(raw)
    elif head.startswith(b"\xfd7zXZ\0"):
        name, inner = "xz", cast(IO[bytes], _XzFile(raw))
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        name, inner = "zstd", decompressor.stream_reader(raw, read_across_frames=True)
    else:
        yield raw
        return
    with io.BufferedReader(_Decompressed(inner, name), 1024 * 1024) as stream:
        yield cast(BinaryIO, stream)


def open_archive(path: str) -> BinaryIO:
    """Open a file for :func:`open_tar_stream`. Raises :class:`NotFoundError`."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise NotFoundError(f"Cannot read {shown(path)}: {error.strerror}", hint="Check the path.") from error
