"""Compressed files as bounded streams that end, and say why, instead of raising.

A reader must get every whole record before the damage, so a broken or exploding stream looks like the end of the file
and leaves its reason in ``damage``. Gzip goes member by member through zlib, which bounds every output block and
tells where each member starts: that offset is what crawl indexes store. zstd and bz2 go through Arrow's codecs.
"""

import bisect
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, Protocol

import pyarrow as pa

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.records import Damaged

BLOCK: Final = 1 << 18
GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
BZ2_MAGIC: Final = b"BZh"


class ByteStream(Protocol):
    """What the record readers need of a file, compressed or not."""

    damage: Damaged | None
    damage_offset: int

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; none at the end or at the damage."""
        ...

    def tell(self) -> int:
        """Return how many bytes were handed out."""
        ...

    def close(self) -> None:
        """Leave the file to whoever opened it."""
        ...

    def locate(self, position: int) -> int:
        """Return the file offset that stands for a stream position."""
        ...

    def frame(self, position: int) -> int:
        """Return the file offset from which decompression to that position has to start."""
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

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._start = source.tell()
        self._position = 0
        self.damage: Damaged | None = None
        self.damage_offset = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most ``size``."""
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

    frame = locate


class GzipStream:
    """All gzip members from the file's present position on, joined.

    Attributes
    ----------
    damage
        Why the stream ended early; None while it is sound.
    damage_offset
        File offset of the member in which it ended.
    """

    def __init__(self, source: BinaryIO, config: CorpusConfig) -> None:
        self._source = source
        self._budget = Budget(config)
        self._pending = b""
        self._next_raw = source.tell()
        self._first_raw = self._next_raw
        self._inflater = None
        self._position = 0
        self._starts: list[int] = []
        self._offsets: list[int] = []
        self.damage: Damaged | None = None
        self.damage_offset = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most ``size``; none at the end or at the damage."""
        want = BLOCK if size < 0 else min(size, BLOCK)
        while want and self.damage is None:
            if not self._pending:
                self._pending = self._source.read(BLOCK)
                self._next_raw += len(self._pending)
            if self._inflater is None and not self._open_member():
                break
            data = self._inflate(want)
            if data:
                self._position += len(data)
                consumed = self._next_raw - len(self._pending) - self._first_raw
                # what one read block holds has to be allowed for: the ratio is of bytes really used
                if (bomb := self._budget.check(consumed, self._position)) is not None:
                    self._fail(bomb)
                    break
                return data
        return b""

    def _open_member(self) -> bool:
        if self._starts:
            # padding with zeros after a member is common and harmless
            self._pending = self._pending.lstrip(b"\0")
            while not self._pending:
                block = self._source.read(BLOCK)
                if not block:
                    return False
                self._next_raw += len(block)
                self._pending = block.lstrip(b"\0")
        if not self._pending:
            return False
        self._starts.append(self._position)
        self._offsets.append(self._next_raw - len(self._pending))
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return True

    def _inflate(self, want: int) -> bytes:
        inflater = self._inflater
        assert inflater is not None
        if not self._pending:
            self._fail(Damaged("truncated_gzip", "the file ends inside a gzip member"))
            return b""
        try:
            data = inflater.decompress(self._pending, want)
        except zlib.error as error:
            self._fail(Damaged("damaged_gzip", str(error)))
            return b""
        if inflater.eof:
            self._pending = inflater.unused_data
            self._inflater = None
        else:
            self._pending = inflater.unconsumed_tail
        return data

    def _fail(self, damage: Damaged) -> None:
        self.damage = damage
        self.damage_offset = self._offsets[-1] if self._offsets else self._first_raw

    def tell(self) -> int:
        """Return how many bytes were handed out."""
        return self._position

    def close(self) -> None:
        """Leave the file to whoever opened it."""

    def locate(self, position: int) -> int:
        """Return the offset of the member at ``position``, plus the bytes into it where it holds several records."""
        index = bisect.bisect_right(self._starts, position) - 1
        return self._offsets[index] + position - self._starts[index] if index >= 0 else self._first_raw

    def frame(self, position: int) -> int:
        """Return the offset of the member at ``position``."""
        index = bisect.bisect_right(self._starts, position) - 1
        return self._offsets[index] if index >= 0 else self._first_raw


class _Borrowed:
    """A file that Arrow may read and may not close: it closes what it wraps when it is collected."""

    closed = False

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        return self._source.read(size)

    def close(self) -> None:
        self.closed = True


class ArrowStream:
    """A zstd or bz2 file through Arrow's codec."""

    def __init__(self, source: BinaryIO, codec: str, config: CorpusConfig) -> None:
        self._codec = codec
        self._source = source
        self._budget = Budget(config)
        self._position = 0
        self._inner = pa.CompressedInputStream(pa.PythonFile(_Borrowed(source), mode="r"), codec)
        self.damage: Damaged | None = None
        self.damage_offset = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most ``size``; none at the end or at the damage."""
        if self.damage is not None:
            return b""
        try:
            data = self._inner.read(BLOCK if size < 0 else min(size, BLOCK))
        except OSError as error:
            kind = "truncated" if "runcated" in str(error) else "damaged"
            self.damage = Damaged(f"{kind}_{self._codec}", str(error).splitlines()[0][:200])
            return b""
        self._position += len(data)
        self.damage = self._budget.check(self._source.tell(), self._position)
        return data

    def tell(self) -> int:
        """Return how many bytes were handed out."""
        return self._position

    def close(self) -> None:
        """Leave the file to whoever opened it."""

    def locate(self, position: int) -> int:
        """Return the position in the uncompressed stream: these formats have no record frames."""
        return position

    def frame(self, position: int) -> int:  # noqa: ARG002
        """Return the start of the file: nothing behind the damage can be decoded."""
        return 0


def open_stream(source: BinaryIO, config: CorpusConfig) -> ByteStream:
    """Return a stream of the uncompressed bytes of an open file, by its first bytes.

    The file is read from its present position and stays open.
    """
    start = source.tell()
    magic = source.read(4)
    source.seek(start)
    if magic.startswith(GZIP_MAGIC):
        return GzipStream(source, config)
    if magic == ZSTD_MAGIC:
        return ArrowStream(source, "zstd", config)
    if magic.startswith(BZ2_MAGIC):
        return ArrowStream(source, "bz2", config)
    return PlainStream(source)


def read_up_to(stream: ByteStream, limit: int) -> bytes:
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


def bounded_lines(stream: ByteStream, limit: int) -> Iterator[Line]:
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
