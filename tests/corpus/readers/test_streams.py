"""Compression: what is read, what is one row, and what a damaged frame costs."""

import bz2
import gzip
import io
import lzma
import zlib
from random import Random

import pyarrow as pa
import pytest
import zstandard

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.streams import ByteStream, open_stream, read_up_to
from tests.corpus.making import documents, items, jsonl, prose, quarantined, response

ROWS = [{"text": prose(i), "url": f"https://example.org/{i}"} for i in range(6)]
RECORDS = [response(prose(i), f"https://example.org/{i}") for i in range(6)]
CONFIG = CorpusConfig()


def lz4(data):
    return pa.compress(data, codec="lz4", asbytes=True)


def lz4_legacy(data, block=8 << 20):
    out = b"\x02\x21\x4c\x18"
    for start in range(0, len(data), block):
        packed = pa.compress(data[start : start + block], codec="lz4_raw", asbytes=True)
        out += len(packed).to_bytes(4, "little") + packed
    return out


def snappy(data, block=50_000):
    out = b"\xff\x06\x00\x00sNaPpY"
    for start in range(0, len(data), block):
        packed = pa.compress(data[start : start + block], codec="snappy", asbytes=True)
        out += b"\x00" + (len(packed) + 4).to_bytes(3, "little") + bytes(4) + packed
    return out


def zstd(data, dictionary=None):
    return zstandard.ZstdCompressor(write_checksum=True, dict_data=dictionary).compress(data)


def skippable(data, number=0):
    return (0x184D2A50 + number).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data


PACKERS = {
    **{"gzip": gzip.compress, "zstd": zstd, "bz2": bz2.compress, "xz": lzma.compress},
    **{"lz4": lz4, "lz4_legacy": lz4_legacy, "snappy": snappy},
}
SUFFIXES = {"gzip": "gz", "zstd": "zst", "bz2": "bz2", "xz": "xz", "lz4": "lz4", "lz4_legacy": "lz4", "snappy": "sz"}


def stretches(data: bytes, name: str = "", config: CorpusConfig = CONFIG) -> tuple[bytes, list[str]]:
    """Return all sound bytes of a file, and the reasons of the damages between them."""
    stream: ByteStream = open_stream(io.BytesIO(data), config, name)
    found, reasons = b"", []
    while True:
        found += read_up_to(stream, 1 << 40)
        if stream.damage is None:
            return found, reasons
        reasons.append(stream.damage.reason)
        if not stream.resume():
            return found, reasons


def noise(seed, size=200_000):
    return Random(seed).randbytes(size // 2).hex().encode()


@pytest.mark.parametrize("codec", PACKERS)
@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_what_was_packed_comes_out(codec, size):
    data = (noise(1) * 15)[:size]
    assert stretches(PACKERS[codec](data)) == (data, [])
    assert stretches(PACKERS[codec](data) * 2) == (data * 2, [])


def test_a_frame_whose_checksum_disagrees_gives_nothing():
    packed = bytearray(zstd(noise(1, 1000)))
    packed[-1] ^= 1
    assert stretches(zstd(b"before") + bytes(packed) + zstd(b"behind")) == (b"beforebehind", ["damaged_zstd"])
    whole = zstd(b"the text is whole")
    assert stretches(whole[:-2]) == (b"the text is whole", ["truncated_zstd"])


@pytest.mark.parametrize("codec", PACKERS)
@pytest.mark.parametrize("broken", [0, 2, 5])
@pytest.mark.parametrize("how", ["overwritten", "cut", "start gone"])
def test_a_damaged_frame_costs_itself(codec, broken, how):
    parts = ["\n".join(prose(10 * i + j) for j in range(6)).encode() for i in range(6)]
    frames = [PACKERS[codec](part) for part in parts]
    frame = bytearray(frames[broken])
    middle = len(frame) // 2
    match how:
        case "overwritten":
            # control characters, lest a damaged text still pass where the format has no checksum
            frame[middle : middle + 300] = b"\xff" * 300
        case "cut":
            del frame[middle:]
        case _:
            frame[:8] = bytes(8) if codec == "lz4_legacy" else b"\xff\x00\xff\xfe\xff\x00\xff\xfe"
    frames[broken] = bytes(frame)
    found, reasons = stretches(b"".join(frames), f"a.{SUFFIXES[codec]}")
    if broken == 0 and how == "start gone" and codec == "snappy":
        # nothing says that this was snappy
        assert reasons == []
        return
    kind = codec.removesuffix("_legacy")
    assert set(reasons) <= {f"damaged_{kind}", f"truncated_{kind}"}
    assert len(reasons) == 1
    for number, part in enumerate(parts):
        assert (part in found) == (number != broken), number


@pytest.mark.parametrize("codec", PACKERS)
@pytest.mark.parametrize("broken", [0, 3, 5])
def test_lines_around_a_damaged_frame_are_read(tmp_path, codec, broken):
    frames = [PACKERS[codec](jsonl([row])) for row in ROWS]
    middle = len(frames[broken]) // 2
    frames[broken] = frames[broken][:middle] + b"\xff" * 60 + frames[broken][middle + 60 :]
    path = tmp_path / f"a.jsonl.{SUFFIXES[codec]}"
    path.write_bytes(b"".join(frames))
    found = items(path)
    assert [d.url for d in documents(found)] == [row["url"] for i, row in enumerate(ROWS) if i != broken]
    assert len(quarantined(found)) == 1


@pytest.mark.parametrize("codec", PACKERS)
def test_bytes_behind_the_last_frame_are_one_row(codec):
    data = jsonl(ROWS)
    for tail, reasons in ((b"<html>504 Gateway Time-out</html>", 1), (bytes(700), 0)):
        if reasons or codec not in ("lz4_legacy", "snappy"):
            found, damages = stretches(PACKERS[codec](data) + tail)
            assert found == data
            assert len(damages) == reasons


@pytest.mark.parametrize("codec", PACKERS)
@pytest.mark.parametrize("name", ["a.jsonl", "a", "a.jsonl.zst", "a.jsonl.gz", "a.jsonl.br"])
def test_content_wins_over_the_suffix(tmp_path, codec, name):
    path = tmp_path / name
    path.write_bytes(PACKERS[codec](jsonl(ROWS)))
    assert [d.text for d in documents(items(path))] == [row["text"] for row in ROWS]


def test_a_suffix_without_compression_is_read_as_it_is(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(jsonl(ROWS))
    assert len(documents(items(path))) == len(ROWS)


def test_skippable_frames_anywhere():
    one, two = jsonl(ROWS[:3]), jsonl(ROWS[3:])
    for pack in (zstd, lz4):
        for at in range(3):
            frames = [pack(one), pack(two)]
            frames[at:at] = [skippable(b"abcd"), skippable(b"", 15)]
            assert stretches(b"".join(frames)) == (one + two, [])
    assert stretches(skippable(b"nothing else")) == (b"", [])
    found, reasons = stretches(zstd(one) + skippable(b"abcd")[:-2])
    assert (found, reasons) == (one, ["truncated_zstd"])


class TestDictionary:
    dictionary = zstandard.train_dictionary(2048, RECORDS * 20)

    @pytest.mark.parametrize("packed", [True, False])
    @pytest.mark.parametrize("broken", [None, 3])
    def test_in_the_first_frame(self, tmp_path, packed, broken):
        raw = self.dictionary.as_bytes()
        frames = [zstd(record, self.dictionary) for record in RECORDS]
        if broken is not None:
            frames[broken] = frames[broken][:20] + b"\xff" * 30 + frames[broken][50:]
        path = tmp_path / "crawl.warc.zst"
        head = skippable(zstd(raw) if packed else raw, 13)
        path.write_bytes(head + b"".join(frames))
        found = items(path)
        assert [d.text.strip() for d in documents(found)] == [prose(i) for i in range(6) if i != broken]
        assert len(quarantined(found)) == (broken is not None)
        assert documents(found)[0].offset == len(head)

    def test_that_is_not_there(self, tmp_path):
        path = tmp_path / "crawl.warc.zst"
        path.write_bytes(b"".join(zstd(record, self.dictionary) for record in RECORDS))
        [row] = items(path)
        assert row.reason == "unsupported_compression"
        assert str(self.dictionary.dict_id()) in row.detail
        assert "zstd -d -D" in row.detail

    def test_that_is_none(self, tmp_path):
        path = tmp_path / "crawl.warc.zst"
        path.write_bytes(skippable(b"a note", 13) + b"".join(map(zstd, RECORDS)))
        assert len(documents(items(path))) == 6


def long_window(data, bits):
    parameters = zstandard.ZstdCompressionParameters(window_log=bits, enable_ldm=True, write_content_size=False)
    engine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return engine.compress(data) + engine.flush()


def test_long_windows():
    data = jsonl(ROWS)
    assert stretches(long_window(data, 27)) == (data, [])
    small = CorpusConfig(max_window_bytes=1 << 20)
    found, reasons = stretches(long_window(data, 27) * 3, config=small)
    assert (found, reasons) == (b"", ["window_too_large"])
    packed = lzma.compress(noise(1), preset=9)
    found, reasons = stretches(packed, config=small)
    assert (found, reasons) == (b"", ["window_too_large"])


def test_a_window_that_is_too_large_is_one_row_with_the_way_out(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(long_window(jsonl(ROWS), 24) * 50)
    [row] = items(path, CorpusConfig(max_window_bytes=1 << 20))
    assert row.reason == "window_too_large"
    assert "max_window_bytes" in row.detail


def tar(data):
    header = b"a.jsonl".ljust(100, b"\0") + b"0000644\0" * 3 + b"%011o\0" % len(data) + b"0" * 20
    return header.ljust(257, b"\0") + b"ustar\x0000" + bytes(248) + data


RANDOM = Random(5).randbytes(5000)
STRANGE = [
    ("a.zip", b"PK\x03\x04\x14\x00" + RANDOM, "zip"),
    ("a.jsonl", b"PK\x03\x04\x14\x00" + RANDOM, "zip"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c\x00\x04" + RANDOM, "7z"),
    ("a.tar", tar(jsonl(ROWS)), "tar"),
    ("a.tar.gz", gzip.compress(tar(jsonl(ROWS))), "tar archive, inside gzip"),
    ("a.tgz", gzip.compress(tar(jsonl(ROWS))), "tar"),
    ("a.jsonl.Z", b"\x1f\x9d\x90" + RANDOM, "(.Z)"),
    ("a.jsonl.br", b"\x1b\x00\x01" + RANDOM, "brotli"),
    ("a.jsonl.snappy", b"\x80\x80\x04\x00" + RANDOM, "snappy"),
    ("a.jsonl.lzma", lzma.compress(jsonl(ROWS), format=lzma.FORMAT_ALONE), "lzma"),
    ("a.jsonl", lzma.compress(jsonl(ROWS), format=lzma.FORMAT_ALONE), "lzma"),
    ("a.jsonl.lz", b"LZIP\x01\x14" + RANDOM, "lzip"),
    ("a.jsonl.zst", b"\x25\xb5\x2f\xfd" + RANDOM, "zstd before 0.8"),
    ("a.jsonl.gpg", b"\x85\x01\x0c\x03" + RANDOM, "encrypted"),
    ("a.jsonl", b"Salted__" + RANDOM, "openssl"),
    ("a.jsonl.asc", b"-----BEGIN PGP MESSAGE-----\n\nhQEMA", "encrypted"),
    ("a.jsonl.gz", gzip.compress(gzip.compress(jsonl(ROWS))), "gzip inside gzip"),
    ("a.parquet.gz", gzip.compress(b"PAR1" + RANDOM), "parquet inside gzip"),
]


@pytest.mark.parametrize(("name", "data", "what"), STRANGE, ids=[f"{name}-{what}" for name, _, what in STRANGE])
def test_what_is_not_supported_is_one_row_that_names_it(tmp_path, name, data, what):
    path = tmp_path / name
    path.write_bytes(data)
    [row] = items(path)
    assert row.reason == "unsupported_compression"
    assert what in row.detail
    assert ": " in row.detail


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.bin"])
def test_bytes_that_are_nothing_are_one_row(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x80\x03" + RANDOM * 100)
    assert quarantined(items(path)) == [(0, "unknown_format")]


def test_offsets_are_those_of_the_frames(tmp_path):
    for codec in PACKERS:
        frames = [PACKERS[codec](record) for record in RECORDS]
        path = tmp_path / f"{codec}.warc"
        path.write_bytes(b"".join(frames))
        assert [d.offset for d in documents(items(path))] == [sum(map(len, frames[:i])) for i in range(6)]


def test_a_stream_goes_back():
    data = noise(3, 600_000)
    packed = b"".join(gzip.compress(data[i : i + 70_000]) for i in range(0, len(data), 70_000))
    for blob in (data, packed):
        stream = open_stream(io.BytesIO(blob), CONFIG)
        read_up_to(stream, 500_000)
        stream.rewind(123_456)
        assert stream.tell() == 123_456
        assert read_up_to(stream, 1 << 30) == data[123_456:]
        assert stream.damage is None


@pytest.mark.parametrize(
    "piece",
    [
        b"\x1f\x8b\x08\x00",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\x00\xf0\xff\x0f\x00",
        zlib.compress(b"")[2:],
        b"\x28\xb5\x2f\xfd",
        zstd(b"x")[:-1],
    ],
)
def test_starts_of_frames_without_end_are_not_decoded_without_end(piece):
    """Count the bytes that are read: a few times the file, whatever it holds."""

    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    def cost(times):
        source = Counting(
            gzip.compress(b"sound") + piece * times if piece[:1] == b"\x1f" else zstd(b"s") + piece * times
        )
        stream = open_stream(source, CONFIG)
        for _ in range(1_000_000):
            if not stream.read() and not stream.resume():
                break
        return source.taken

    assert cost(4000) < 3 * cost(2000)
