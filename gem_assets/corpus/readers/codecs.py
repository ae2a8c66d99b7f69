"""Compression formats, decoded one frame at a time (gzip calls it a member, xz and bz2 a stream).

Every decoder yields the bytes of one frame in pieces of at most a few megabytes, leaves the file positioned after the
frame and raises :class:`Damaged` where the frame is broken, so that a damaged frame costs no other. zstd and lz4 frames
are walked block by block, which shows where they end and what window they need before anything is decoded.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Iterator
from typing import Final, Protocol

import pyarrow as pa
import zstandard

from gem_assets.corpus.readers.raw import BLOCK, Raw, damaged, truncated
from gem_assets.corpus.readers.records import Damaged
from gem_assets.storage.faults import is_storage_error

FINAL_DAMAGE: Final = frozenset({"decompression_bomb", "window_too_large", "unsupported_compression"})
"""Reasons that hold for the whole file: no later frame is looked for."""

_FIRST_STEP: Final = 1 << 10
_BZ2_BLOCK: Final = 900_000
_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_DICTIONARY: Final = b"\x5d\x2a\x4d\x18"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_LZ4: Final = b"\x04\x22\x4d\x18"
_LZ4_LEGACY: Final = b"\x02\x21\x4c\x18"
_LZ4_LEGACY_BLOCK: Final = 8 << 20
_LARGEST_DICTIONARY: Final = 64 << 20
_SNAPPY: Final = b"\xff\x06\x00\x00sNaPpY"


class Codec(Protocol):
    """One compression format. ``magic`` finds possible starts of frames after damage."""

    name: str
    magic: re.Pattern[bytes]

    def frame(self, raw: Raw) -> Iterator[bytes]:
        """Yield the bytes of the current frame; one that carries no data yields nothing."""
        ...


def _too_wide(codec: str, window: int, why: str) -> Damaged:
    detail = f"{codec} needs a window of {window} bytes, {why}, or compress again without --long"
    return Damaged("window_too_large", detail)


class Gzip:
    """gzip members."""

    name = "gzip"
    magic = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")

    def frame(self, raw: Raw) -> Iterator[bytes]:
        """Yield the bytes of the current frame."""
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        step = _FIRST_STEP
        while not inflater.eof:
            # small steps first: what is read beyond the end of a member is read again
            data = inflater.unconsumed_tail or raw.take(step)
            step = min(step * 2, BLOCK)
            try:
                out = inflater.decompress(data, BLOCK) if data else inflater.flush()
            except zlib.error as error:
                raise damaged(self.name, error) from error
            if out:
                yield out
            if not data and not inflater.eof:
                raise truncated(self.name)
        raw.give_back(len(inflater.unused_data))


class Streams:
    """bz2 and xz streams through the standard library.

    Parameters
    ----------
    name
        ``bz2`` or ``xz``.
    max_window
        Most bytes that the decoder of an xz stream may ask for.
    """

    def __init__(self, name: str, max_window: int) -> None:
        self.name = name
        self.magic = re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)" if name == "bz2" else rb"\xfd7zXZ\x00")
        self._max_window = max_window

    def frame(self, raw: Raw) -> Iterator[bytes]:
        """Yield the bytes of the current frame."""
        xz = self.name == "xz"
        engine = lzma.LZMADecompressor(lzma.FORMAT_XZ, self._max_window) if xz else bz2.BZ2Decompressor()
        hold = 0 if xz else _BZ2_BLOCK
        step = _FIRST_STEP
        held = b""
        while not engine.eof:
            data = raw.take(step) if engine.needs_input else b""
            if not data and engine.needs_input:
                if held:
                    yield held
                raise truncated(self.name)
            step = min(step * 2, BLOCK)
            try:
                held += engine.decompress(data, BLOCK)
            except lzma.LZMAError as error:
                if "limit" in str(error):
                    detail = f"xz needs more memory than max_window_bytes ({self._max_window}): raise it"
                    raise Damaged("window_too_large", detail) from error
                raise damaged(self.name, error) from error
            except (OSError, ValueError, EOFError) as error:
                raise damaged(self.name, error) from error
            # a block of bz2 is handed out before its checksum is compared
            if len(held) > hold:
                yield held[: len(held) - hold]
                held = held[len(held) - hold :]
        if held:
            yield held
        raw.give_back(len(engine.unused_data))


class Zstd:
    """zstd frames, skippable ones among them; a dictionary in a leading one serves all frames, as in ``.warc.zst``.

    ``max_window`` is the largest window that a frame may need, in bytes.
    """

    name = "zstd"
    magic = re.compile(rb"\x28\xb5\x2f\xfd")

    def __init__(self, max_window: int) -> None:
        self._max_window = max_window
        self._dictionary: zstandard.ZstdCompressionDict | None = None
        self._engine = zstandard.ZstdDecompressor(max_window_size=max_window)

    def frame(self, raw: Raw) -> Iterator[bytes]:
        """Yield the bytes of the current frame."""
        magic = raw.peek(4)
        if _SKIPPABLE.match(magic):
            self._skippable(raw, magic)
            return
        try:
            about = zstandard.get_frame_parameters(raw.peek(18))
        except zstandard.ZstdError as error:
            known = magic == _ZSTD
            raise (truncated(self.name) if len(raw.peek(18)) < 18 and known else damaged(self.name, error)) from error
        if about.window_size > self._max_window:
            why = f"max_window_bytes is {self._max_window}: raise it"
            raise _too_wide(self.name, about.window_size, why)
        own = self._dictionary.dict_id() if self._dictionary is not None else 0
        if about.dict_id not in (0, own):
            detail = f"zstd dictionary {about.dict_id} is not in the file: decompress it with `zstd -d -D DICTIONARY`"
            raise Damaged("unsupported_compression", detail)
        try:
            yield from self._blocks(raw, checksum=about.has_checksum)
        except zstandard.ZstdError as error:
            if "llocation" in str(error):
                why = "more than this process may have: raise worker_memory_mb"
                raise _too_wide(self.name, about.window_size, why) from error
            raise damaged(self.name, error) from error

    def _blocks(self, raw: Raw, *, checksum: bool) -> Iterator[bytes]:
        engine = self._engine.decompressobj()
        flags = raw.peek(5)[4]
        single = flags >> 5 & 1
        size = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
        engine.decompress(raw.exactly(size, self.name))
        last = False
        while not last:
            head = raw.exactly(3, self.name)
            word = int.from_bytes(head, "little")
            last = bool(word & 1)
            # a block of one repeated byte holds that byte only
            out = engine.decompress(head + raw.exactly(1 if word >> 1 & 3 == 1 else word >> 3, self.name))
            checked = last and checksum and len(raw.peek(4)) == 4
            if checked:
                # the last block counts only if the checksum agrees
                engine.decompress(raw.exactly(4, self.name))
            if out:
                yield out
            if last and checksum and not checked:
                raise truncated(self.name)

    def _skippable(self, raw: Raw, magic: bytes) -> None:
        first = raw.offset == 0
        size = int.from_bytes(raw.exactly(8, self.name)[4:], "little")
        if not (first and magic == _DICTIONARY and size <= _LARGEST_DICTIONARY):
            raw.skip(size, self.name)
            return
        data = raw.exactly(size, self.name)
        if data.startswith(_ZSTD):
            try:
                data = zstandard.ZstdDecompressor().stream_reader(data).read(_LARGEST_DICTIONARY)
            except zstandard.ZstdError as error:
                raise damaged(self.name, f"the dictionary in the first frame: {error}") from error
        if data.startswith(b"\x37\xa4\x30\xec"):
            self._dictionary = zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_FULLDICT)
            self._engine = zstandard.ZstdDecompressor(dict_data=self._dictionary, max_window_size=self._max_window)


class Lz4:
    """lz4 frames, old and new, through Arrow's codecs."""

    name = "lz4"
    magic = re.compile(rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18")

    def frame(self, raw: Raw) -> Iterator[bytes]:
        """Yield the bytes of the current frame."""
        magic = raw.peek(4)
        if _SKIPPABLE.match(magic):
            raw.skip(int.from_bytes(raw.exactly(8, self.name)[4:], "little"), self.name)
        elif magic == _LZ4_LEGACY:
            yield from self._legacy(raw)
        elif magic == _LZ4:
            pieces = _Pieces(self._walk(raw))
            inner = pa.CompressedInputStream(pa.PythonFile(pieces, mode="r"), "lz4")
            try:
                while out := inner.read(BLOCK):
                    yield out
            except OSError as error:
                if is_storage_error(error):
                    raise
                raise (pieces.damage or damaged(self.name, error)) from error
            if pieces.damage is not None:
                raise pieces.damage
        else:
            raise truncated(self.name) if len(magic) < 4 else damaged(self.name, "no lz4 frame begins here")

    def _walk(self, raw: Raw) -> Iterator[bytes]:
        flags = raw.peek(5)[4:]
        if flags and flags[0] & 1:
            detail = "lz4 with a dictionary that is not in the file: decompress it with `lz4 -d -D DICTIONARY`"
            raise Damaged("unsupported_compression", detail)
        size = 7 + 8 * (flags[0] >> 3 & 1) if flags else 7
        head = raw.exactly(size, self.name)
        yield head
        most = 1 << (8 + 2 * (head[5] >> 4 & 7))
        while word := int.from_bytes(prefix := raw.exactly(4, self.name), "little"):
            length = word & 0x7FFFFFFF
            if length > most:
                raise damaged(self.name, f"a block of {length} bytes")
            yield prefix + raw.exactly(length + 4 * (flags[0] >> 4 & 1), self.name)
        yield prefix + raw.exactly(4 * (flags[0] >> 2 & 1), self.name)

    def _legacy(self, raw: Raw) -> Iterator[bytes]:
        raw.exactly(4, self.name)
        while (prefix := raw.peek(4)) and not (self.magic.match(prefix) or _SKIPPABLE.match(prefix)):
            length = int.from_bytes(raw.exactly(4, self.name), "little")
            if length > 2 * _LZ4_LEGACY_BLOCK:
                raise damaged(self.name, f"a block of {length} bytes")
            yield _unpacked(raw.exactly(length, self.name))


class _Pieces:
    """An iterator as the file that Arrow reads; what ends it early is kept in ``damage``."""

    closed = False

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""
        self.damage: Damaged | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            while not self._left and self.damage is None:
                self._left = next(self._pieces)
        except StopIteration:
            return b""
        except Damaged as damage:
            self.damage = damage
        size = len(self._left) if size < 0 else size
        data, self._left = self._left[:size], self._left[size:]
        return data

    def close(self) -> None:
        self.closed = True


def _unpacked(block: bytes) -> bytes:
    """Return the content of a legacy lz4 block, which does not say how long it is; only the last one is short."""
    codec = pa.Codec("lz4_raw")

    def fits(size: int) -> bool:
        try:
            codec.decompress(block, size, asbytes=True)
        except OSError:
            return False
        return True

    # lz4 unfolds at most 255 times, and refuses a room that is too small
    high = min(_LZ4_LEGACY_BLOCK, 255 * len(block))
    if not fits(high):
        raise damaged("lz4", "a block cannot be decoded")
    low = 0 if fits(high - 1) else high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return codec.decompress(block, high, asbytes=True)


class Snappy:
    """The framed format of snappy; its checksums are not verified."""

    name = "snappy"
    magic = re.compile(re.escape(_SNAPPY))
    _most = 1 << 16

    def frame(self, raw: Raw) -> Iterator[bytes]:
        """Yield the bytes of the current frame."""
        if raw.exactly(len(_SNAPPY), self.name) != _SNAPPY:
            raise damaged(self.name, "no snappy stream begins here")
        codec = pa.Codec("snappy")
        while (head := raw.peek(4)) and head[0] != 0xFF:
            kind, size = head[0], int.from_bytes(raw.exactly(4, self.name)[1:], "little")
            if kind >= 0x80:
                raw.skip(size, self.name)
                continue
            if kind > 1 or not 4 <= size <= 2 * self._most:
                raise damaged(self.name, f"a chunk of type {kind} and {size} bytes")
            body = raw.exactly(size, self.name)[4:]
            if kind == 0:
                length, shift = 0, 0
                for byte in body[:5]:
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                if length > self._most:
                    raise damaged(self.name, f"a chunk that unfolds to {length} bytes")
                try:
                    body = codec.decompress(body, length, asbytes=True)
                except OSError as error:
                    raise damaged(self.name, error) from error
            if body:
                yield body


def find_codec(raw: Raw, max_window: int) -> Codec | None:
    """Return the codec of these bytes, or None if they are not compressed in a way that we read."""
    head = raw.peek(16)
    start = raw.offset
    try:
        # zstd and lz4 share their skippable frames
        while _SKIPPABLE.match(head):
            raw.skip(8 + int.from_bytes(head[4:8], "little"), "zstd")
            head = raw.peek(16) or _ZSTD
    except Damaged:
        head = _ZSTD
    raw.seek(start)
    if head.startswith(_ZSTD):
        return Zstd(max_window)
    if head.startswith((_LZ4, _LZ4_LEGACY)):
        return Lz4()
    if head.startswith(b"\x1f\x8b"):
        return Gzip()
    if head.startswith(_SNAPPY):
        return Snappy()
    streams = (Streams(name, max_window) for name in ("bz2", "xz"))
    return next((codec for codec in streams if codec.magic.match(head)), None)


_SUFFIX_CODECS: Final = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz", ".lz4": "lz4"}


def codec_of_suffix(suffix: str, max_window: int) -> Codec | None:
    """Return the codec that a file name promises."""
    match _SUFFIX_CODECS.get(suffix.lower()):
        case "gzip":
            return Gzip()
        case "zstd":
            return Zstd(max_window)
        case "lz4":
            return Lz4()
        case None:
            return None
        case name:
            return Streams(name, max_window)
