"""Compressed archives: told by content, whole or refused, never more memory than the limit."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import threading
import tracemalloc

import pytest
import zstandard

from volt_core.errors import ArchiveInvalid, NotFoundError
from volt_core.images.archive import open_archive, open_tar_stream

COMPRESS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zstd without size": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
}
every = pytest.mark.parametrize("compress", COMPRESS.values(), ids=COMPRESS)
noise = random.Random(7).randbytes(90_000)
DATA = noise + bytes(300_000) + noise[:1000]


def read(data, size=None):
    with open_tar_stream(io.BytesIO(data)) as stream:
        if size is None:
            return stream.read()
        return b"".join(iter(lambda: stream.read(size), b""))


@every
@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "one byte", "much"])
def test_what_was_compressed_comes_out(compress, data):
    assert read(compress(data)) == data


@every
def test_in_small_pieces(compress):
    assert read(compress(DATA), 999) == DATA


@pytest.mark.parametrize("data", [b"", b"x", b"BZ", b"\x1f", DATA], ids=lambda data: str(len(data)))
def test_what_is_not_compressed_passes(data):
    assert read(data) == data


@every
def test_a_stream_that_is_cut_off_is_refused_wherever_the_cut_is(compress):
    whole = compress(DATA)
    rng = random.Random(3)
    cuts = {*range(6, 40), *range(len(whole) - 20, len(whole)), *(rng.randrange(40, len(whole)) for _ in range(40))}
    for cut in sorted(cuts):
        with pytest.raises(ArchiveInvalid, match=r"stream ends too early\. \(Fetch the file again\.\)"):
            read(whole[:cut])


@pytest.mark.parametrize("compress", [COMPRESS[name] for name in ("gzip", "bzip2", "xz", "zstd")])
def test_a_flipped_bit_is_noticed(compress):
    whole = bytearray(compress(DATA))
    for position in (len(whole) // 3, len(whole) // 2, len(whole) - 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        with pytest.raises(ArchiveInvalid, match=r"is damaged|ends too early"):
            read(bytes(damaged))


@every
def test_streams_one_behind_the_other_are_one(compress):
    assert read(compress(b"a" * 70000) + compress(b"b" * 70000) + compress(b"")) == b"a" * 70000 + b"b" * 70000


def test_padding_between_xz_streams_may_be_long():
    assert read(lzma.compress(b"a") + bytes(70_000) + lzma.compress(b"b") + bytes(4)) == b"ab"


def test_skippable_zstd_frames_are_skipped():
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"index"
    compress = COMPRESS["zstd"]
    assert read(compress(b"a") + skippable + compress(b"b") + skippable) == b"ab"


@pytest.mark.parametrize("name", ["xz", "zstd", "gzip"])
def test_garbage_behind_the_stream_is_refused(name):
    with pytest.raises(ArchiveInvalid):
        read(COMPRESS[name](DATA) + b"garbage" * 10)


def test_an_xz_that_wants_much_memory_is_refused():
    greedy = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}])
    with pytest.raises(ArchiveInvalid, match=r"The xz stream is damaged: .*[Mm]emory"):
        read(greedy)


def test_a_zstd_that_wants_much_memory_is_refused():
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=30)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    greedy = compressor.compress(b"x") + compressor.flush()
    with pytest.raises(ArchiveInvalid, match=r"The zstd stream is damaged: .*[Mm]emory"):
        read(greedy)


@pytest.mark.parametrize("name", ["xz", "zstd"])
def test_a_bomb_comes_out_in_pieces(name):
    bomb = lzma.compress(bytes(200 << 20), preset=0) if name == "xz" else COMPRESS["zstd"](bytes(400 << 20))
    tracemalloc.start()
    try:
        with open_tar_stream(io.BytesIO(bomb)) as stream:
            for _ in range(8):
                assert len(stream.read(1 << 20)) == 1 << 20
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


@every
def test_a_pipe_that_gives_a_byte_at_a_time(compress):
    reading, writing = os.pipe()
    whole = compress(DATA[:2000])

    def feed():
        with open(writing, "wb", buffering=0) as pipe:
            for byte in whole:
                pipe.write(bytes([byte]))

    thread = threading.Thread(target=feed)
    thread.start()
    with open(reading, "rb", buffering=0) as source, open_tar_stream(source) as stream:
        assert stream.read() == DATA[:2000]
    thread.join()


def test_the_source_stays_open():
    source = io.BytesIO(gzip.compress(b"x"))
    with open_tar_stream(source) as stream:
        stream.read()
    assert not source.closed


def test_an_archive_that_is_not_there(tmp_path):
    with pytest.raises(NotFoundError, match=r"Cannot read '.*none.tar': No such file"):
        open_archive(str(tmp_path / "none.tar"))
