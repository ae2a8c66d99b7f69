"""Compressed files as bounded streams, which end with a reason instead of raising.

A reader must get every whole record around the damage, so a broken or exploding stream looks like the end of the file,
leaves its reason in ``damage``, and continues at the next sound frame when it is asked to ``resume``. File offsets are
those of the frames (gzip members), which is what crawl indexes store.
"""

import bisect
from array import array
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, Final, Protocol

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.codecs import FINAL_DAMAGE, Codec, codec_of_suffix, find_codec
from gem_assets.corpus.readers.raw import BLOCK, Raw
from gem_assets.corpus.readers.records import Damaged

_PROBE: Final = 1 << 16
_FIRST_SCAN: Final = 1 << 12
_SCAN: Final = 1 << 20
_MOST_PROBES: Final = 10_000


class Source(Protocol):
    """Bytes up to an end or a damage, and on from there."""

    @property
    def damage(self) -> Damaged | None:
        """Why the stream broke off, once that was reached."""
        ...

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; none at the end or at the damage."""
        ...

    def resume(self) -> bool:
        """Continue at the next sound frame after the damage; False if there is none."""
        ...


class ByteStream(Source, Protocol):
    """What the record readers need of a file, compressed or not."""

    codec: str
    damage_offset: int

    def tell(self) -> int:
        """Return how many bytes were handed out."""
        ...

    def close(self) -> None:
        """Leave the file to whoever opened it."""
        ...

    def locate(self, position: int) -> int:
        """Return the file offset that stands for a stream position."""
        ...

    def is_frame_start(self, position: int) -> bool:
        """Tell whether a compressed frame that carries data begins at a stream position."""
        ...

    def sample(self, position: int, size: int) -> bytes | None:
        """Return the bytes at any position without going there; None where that takes decompression."""
        ...

    def rewind(self, position: int) -> None:
        """Go back to an earlier position."""
        ...


class Budget:
    """Watches how far a file expands."""

    def __init__(self, config: CorpusConfig) -> None:
        self._ratio = config.max_decompression_ratio
        self._floor = config.bomb_floor_bytes
        self._most = config.max_decompressed_bytes

    def check(self, read: int, written: int) -> Damaged | None:
        """Return the damage once ``read`` file bytes gave ``written`` bytes too many, else None."""
        if written > self._most:
            return Damaged("decompression_bomb", f"expands beyond max_decompressed_bytes ({self._most})")
        if written > self._floor and written > self._ratio * max(read, 1):
            return Damaged(
                "decompression_bomb",
                f"{read} bytes expand to more than {written} (max_decompression_ratio {self._ratio:g})",
            )
        return None


class PlainStream:
    """An uncompressed file from its present position on."""

    codec = ""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._start = source.tell()
        self._position = 0
        self.damage: Damaged | None = None
        self.damage_offset = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most ``size``; none at the end or at the damage."""
        data = self._source.read(BLOCK if size < 0 else size)
        self._position += len(data)
        return data

    def tell(self) -> int:
        """Return how many bytes were handed out."""
        return self._position

    def close(self) -> None:
        """Leave the file to whoever opened it."""

    def locate(self, position: int) -> int:
        """Return the file offset of a stream position."""
        return self._start + position

    def is_frame_start(self, position: int) -> bool:  # noqa: ARG002
        """Return False: there are no frames."""
        return False

    def sample(self, position: int, size: int) -> bytes:
        """Return bytes from anywhere, none after the end."""
        at = self._start + position
        # file systems refuse positions that no file of theirs can have
        data = self._source.read(size) if self._source.seek(0, 2) > at and self._source.seek(at) == at else b""
        self._source.seek(self._start + self._position)
        return data

    def rewind(self, position: int) -> None:
        """Go back to an earlier position."""
        self._source.seek(self._start + position)
        self._position = position

    def resume(self) -> bool:
        """Return False: there is no damage to continue after."""
        return False


class FramedStream:
    """All frames of a compressed file from its present position on, joined.

    Attributes
    ----------
    damage
        Why the stream ended early; None while it is sound.
    damage_offset
        File offset of the frame in which it ended.
    """

    def __init__(self, source: BinaryIO, codec: Codec, config: CorpusConfig) -> None:
        self._source = source
        self._codec = codec
        self.codec = codec.name
        self._raw = Raw(source)
        self._first_raw = self._raw.offset
        self._budget = Budget(config)
        self._frame: Iterator[bytes] | None = None
        self._left = b""
        self._position = 0
        self._starts, self._offsets = array("q"), array("q")
        self._decoded_again = 0
        self.damage: Damaged | None = None
        self.damage_offset = self._first_raw

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most ``size``; none at the end or at the damage."""
        if not self._left:
            self._left = self._next_piece()
        size = BLOCK if size < 0 else size
        data, self._left = (self._left, b"") if size >= len(self._left) else (self._left[:size], self._left[size:])
        self._position += len(data)
        return data

    def _next_piece(self) -> bytes:
        while self.damage is None:
            if self._frame is None and not self._open_frame():
                return b""
            assert self._frame is not None
            try:
                data = next(self._frame, None)
            except Damaged as damage:
                self.damage = damage
                return b""
            if data is None:
                self._frame = None
                continue
            # the ratio is of the bytes that were really used
            self.damage = self._budget.check(self._raw.offset - self._first_raw, self._position + len(data))
            if self.damage is None:
                return data
        return b""

    def _open_frame(self) -> bool:
        if self._starts:
            # padding with zeros behind a frame is common and harmless
            self._raw.skip_zeros()
        if not self._raw.peek(1):
            return False
        self.damage_offset = self._raw.offset
        if self._starts and self._starts[-1] == self._position:
            self._offsets[-1] = self.damage_offset
        else:
            self._starts.append(self._position)
            self._offsets.append(self.damage_offset)
        self._frame = self._codec.frame(self._raw)
        return True

    def tell(self) -> int:
        """Return how many bytes were handed out."""
        return self._position

    def close(self) -> None:
        """Leave the file to whoever opened it."""

    def _index(self, position: int) -> int:
        return bisect.bisect_right(self._starts, position) - 1

    def locate(self, position: int) -> int:
        """Return the offset of the frame at ``position``, plus the bytes into it where it holds several records."""
        index = self._index(position)
        return self._offsets[index] + position - self._starts[index] if index >= 0 else self._first_raw

    def is_frame_start(self, position: int) -> bool:
        """Tell whether a frame that carries data begins at ``position``."""
        index = self._index(position)
        return index >= 0 and self._starts[index] == position

    def sample(self, position: int, size: int) -> None:
        """Return None: the bytes would have to be decoded."""

    def rewind(self, position: int) -> None:
        """Go back to an earlier position."""
        index = self._index(position)
        start, offset = self._starts[index], self._offsets[index]
        del self._starts[index:], self._offsets[index:]
        self._go_to(offset)
        self._position = start
        while self._position < position and self.read(position - self._position):
            pass

    def _go_to(self, offset: int) -> None:
        self._raw.seek(offset)
        self._frame, self._left, self.damage = None, b"", None

    def resume(self) -> bool:
        """Continue at the next sound frame after the damage; False if there is none."""
        if self.damage is None or self.damage.reason in FINAL_DAMAGE:
            return False
        here = self._source.tell()
        size = self._source.seek(0, 2)
        self._source.seek(here)
        at, end = self.damage_offset, self._raw.offset
        for _ in range(_MOST_PROBES):
            # a sound frame may begin inside the broken one; frames that overlap must not be decoded without end
            self._decoded_again += end - at
            at = self._next_magic(at + 1 if self._decoded_again <= 4 * size else max(end, at + 1))
            if at < 0:
                break
            if self._is_sound(at):
                self._go_to(at)
                return True
            end = self._raw.offset
        return False

    def _next_magic(self, start: int) -> int:
        self._source.seek(start)
        step = _FIRST_SCAN
        base, block = start, self._source.read(step)
        while block:
            if found := self._codec.magic.search(block):
                return base + found.start()
            keep = block[-16:]
            step = min(step * 2, _SCAN)
            more = self._source.read(step)
            base += len(block) - len(keep)
            block = keep + more if more else b""
        return -1

    def _is_sound(self, offset: int) -> bool:
        """Decode the start of what may be a frame; the last frame of a file may be cut short."""
        self._raw.seek(offset)
        decoded = 0
        try:
            for piece in self._codec.frame(self._raw):
                decoded += len(piece)
                if decoded >= _PROBE:
                    break
        except Damaged as damage:
            return decoded > 0 and damage.reason.startswith("truncated")
        return True


def open_stream(source: BinaryIO, config: CorpusConfig, name: str = "") -> ByteStream:
    """Return a stream of the uncompressed bytes of an open file.

    The first bytes decide. Where they say nothing and are not text, the codec that the file name promises looks for
    its first sound frame: the first one may be what is damaged. The file is read from its present position and stays
    open.
    """
    start = source.tell()
    raw = Raw(source)
    codec = find_codec(raw, config.max_window_bytes)
    if codec is None and is_binary(raw.peek(512)):
        codec = codec_of_suffix(PurePosixPath(name).suffix, config.max_window_bytes)
    source.seek(start)
    return PlainStream(source) if codec is None else FramedStream(source, codec, config)


def is_binary(head: bytes) -> bool:
    """Tell whether bytes hold control characters that no text has; UTF-16 with a byte order mark is text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    return any(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in head)


def read_up_to(stream: Source, limit: int) -> bytes:
    """Return at most ``limit`` bytes; fewer only at the end of the stream."""
    parts: list[bytes] = []
    left = limit
    while left > 0 and (data := stream.read(min(left, BLOCK))):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


class Line:
    """One line: its bytes without the line end, how long it is, and whether it had a line end.

    A line above the limit has its true length and no bytes.
    """

    __slots__ = ("data", "ended", "length")

    def __init__(self, data: bytes, length: int, *, ended: bool) -> None:
        self.data = data
        self.length = length
        self.ended = ended


def bounded_lines(stream: Source, limit: int) -> Iterator[Line]:
    """Yield the lines of a stream; no more than ``limit`` bytes plus one block are held."""
    parts: list[bytes] = []
    length = 0
    while block := stream.read(BLOCK):
        pieces = block.split(b"\n")
        for piece in pieces[:-1]:
            length += len(piece)
            if length <= limit:
                parts.append(piece)
                yield Line(b"".join(parts), length, ended=True)
            else:
                yield Line(b"", length, ended=True)
            parts, length = [], 0
        length += len(pieces[-1])
        if length <= limit:
            parts.append(pieces[-1])
        else:
            parts = []
    if length:
        yield Line(b"".join(parts) if length <= limit else b"", length, ended=False)
