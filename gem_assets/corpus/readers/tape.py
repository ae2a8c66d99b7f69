"""Read records one after the other, each with a declared length that may be wrong.

A length is believed if a record begins right after it, or the file ends there. Otherwise the block ends at the first
record header inside it; if it holds none, the block keeps its length, and what follows it is damage. A length may also
have been counted before a copy turned CR LF into LF: it is then too long by no more than the number of line ends, and
nothing is missing. The cost stays linear in the file: a block in memory is searched there and never read again, and one
that is too large for memory is read a second time only while this adds up to a few times the file.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gem_assets.corpus.readers.raw import BLOCK
from gem_assets.corpus.readers.records import Damaged
from gem_assets.corpus.readers.streams import ByteStream

LOOK: Final = 4096
LONGEST_HEADER: Final = 1 << 18
_LINE_ENDS: Final = b"\r\n"
_SLIP: Final = 4


@dataclass(frozen=True, slots=True)
class Format:
    """How the headers of a kind of records look.

    Attributes
    ----------
    start
        Finds a header at the start of a line; linear on any bytes.
    begins
        Tells from these bytes, line ends taken off, whether a record surely begins there.
    """

    start: re.Pattern[bytes]
    begins: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a block really ends.

    Attributes
    ----------
    length
        Bytes from the tape's position to its end; 0 where the tape is there already.
    fault
        How the declared length lied, '' where it did not.
    """

    length: int
    held: bool
    fault: str = ""


class Tape:
    """The uncompressed bytes of a file of records, with a look ahead.

    At most ``limit`` bytes of a block are held.

    ``position`` is the place of the next byte in the stream.
    """

    def __init__(self, stream: ByteStream, limit: int, form: Format) -> None:
        self.stream = stream
        self.position = stream.tell()
        self._limit = limit
        self._form = form
        self._buffer = bytearray()
        self._index = 0
        self._ended = False
        self._end: int | None = None
        self._furthest = 0
        self._read_again = 0

    def ahead(self, size: int) -> int:
        """Return how many bytes can be looked at, at most ``size``; fewer only at the end or at damage."""
        while len(self._buffer) - self._index < size and not self._ended:
            data = self.stream.read(BLOCK)
            if not data:
                self._ended, self._end = True, self.stream.tell()
            self._buffer += data
        return min(len(self._buffer) - self._index, size)

    def peek(self, size: int, start: int = 0) -> bytes:
        """Return up to ``size`` bytes from ``start`` bytes ahead on."""
        self.ahead(start + size)
        return bytes(memoryview(self._buffer)[self._index + start : self._index + start + size])

    def skip(self, size: int) -> None:
        """Leave out bytes that are held."""
        self._index += size
        self.position += size
        if self._index >= len(self._buffer):
            self._buffer, self._index = bytearray(), 0
        elif self._index > BLOCK and self._index * 2 > len(self._buffer):
            del self._buffer[: self._index]
            self._index = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes and move past them."""
        data = self.peek(size)
        self.skip(len(data))
        return data

    def held(self, end: re.Pattern[bytes], most: int) -> bytes:
        """Return the bytes up to the first ``end``, if they are held already and not more than ``most``; else none."""
        found = end.search(self._buffer, self._index, self._index + most)
        return bytes(memoryview(self._buffer)[self._index : found.end()]) if found is not None else b""

    def line(self, start: int = 0) -> bytes:
        """Return the line from ``start`` bytes ahead on, with its end; what is longer than a header is cut."""
        size = 256
        while True:
            there = self.ahead(start + size) - start
            cut = self._buffer.find(b"\n", self._index + start, self._index + start + max(there, 0)) + 1
            if cut or there < size or size >= LONGEST_HEADER:
                return self.peek(cut - self._index - start if cut else max(there, 0), start)
            size *= 4

    def skip_line_ends(self) -> None:
        """Leave out empty lines."""
        while self.ahead(1):
            here = self.peek(64)
            rest = len(here.lstrip(_LINE_ENDS))
            self.skip(len(here) - rest)
            if rest:
                return

    def resume(self) -> bool:
        """Continue after damage of the compressed stream; the position jumps to what comes next."""
        if not self.stream.resume():
            return False
        self._buffer, self._index, self._ended, self._end = bytearray(), 0, False, None
        self.position = self.stream.tell()
        return True

    def find_header(self, stop: int) -> int:
        """Return how far ahead, below ``stop``, the next record header begins, or -1; the bytes have to be held."""
        for found in self._form.start.finditer(self._buffer, self._index, self._index + stop + LOOK):
            if found.start() - self._index >= stop:
                break
            if self._form.begins(found.group()):
                return found.start() - self._index
        return -1

    def go_to_header(self) -> None:
        """Go to the next line that looks like a record header, the present one included, or to the end."""
        while there := self.ahead(BLOCK):
            found = self.find_header(there)
            if found >= 0:
                self.skip(found)
                return
            # a header may lie across two blocks
            self.skip(there - LOOK if there > LOOK else there)

    def extent(self, start: int, length: int) -> Extent:
        """Measure the current block.

        Parameters
        ----------
        start
            Stream position of the record's header.
        length
            Length that the header declares.
        """
        there = self.ahead(min(length, self._limit) + LOOK)
        if self._ended:
            there = len(self._buffer) - self._index
        elif length > self._limit:
            return self._large_extent(start, length)
        whole = Extent(length, held=length <= self._limit)
        complete = there > length or (there == length and self.stream.damage is None)
        if complete and self._follows(self.peek(LOOK, length)):
            return whole
        inside = self.find_header(min(there, length))
        if inside >= 0 and length - inside <= self._lost_returns(inside) + _SLIP:
            return Extent(inside, held=inside <= self._limit)
        if inside >= 0:
            return Extent(inside, held=False, fault=f"its length of {length} bytes leads beyond the next record")
        if there < length and self.stream.damage is None and length - there <= self._lost_returns(there):
            return Extent(there, held=there <= self._limit)
        if there < length:
            return Extent(there, held=False, fault=f"{there} of {length} bytes are there")
        return whole

    def _lost_returns(self, size: int) -> int:
        """Return how many CR a copy may have taken out of the next bytes."""
        start, end = self._index, self._index + size
        return 0 if self._buffer.find(b"\r\n", start, end) >= 0 else self._buffer.count(b"\n", start, end)

    def _follows(self, data: bytes) -> bool:
        rest = data.lstrip(_LINE_ENDS)
        return not rest or self._form.begins(rest)

    def _large_extent(self, start: int, length: int) -> Extent:
        """Measure a block that is not held; the tape is past it afterwards."""
        first, header = self.position, -1
        behind = self.stream.sample(first + length, LOOK)
        if behind and self._follows(behind):
            self._jump(first + length)
            return Extent(0, held=False)
        too_long = Extent(0, held=False, fault=f"its length of {length} bytes leads beyond the next record")
        lies = behind is not None or (self._end is not None and first + length > self._end)
        framed = self.stream.is_frame_start(start)
        while (left := first + length - self.position) > 0 and (there := self.ahead(min(left, BLOCK))):
            found = self.find_header(there) if header < 0 or framed else -1
            if found >= 0:
                header = self.position + found if header < 0 else header
                self.skip(found)
                # where a frame is a record, the next frame with a header is the next record
                if lies or (framed and self.stream.is_frame_start(self.position)):
                    return too_long
                self.skip(1)
            else:
                self.skip(there - LOOK if there > LOOK and left > there else there)
        self._furthest = max(self._furthest, self.position)
        reached = self.position - first
        if reached == length and self._follows(self.peek(LOOK)):
            return Extent(0, held=False)
        if header >= 0 and self._read_again + self.position - header <= 4 * self._furthest:
            self._read_again += self.position - header
            self._jump(header)
            return too_long
        return Extent(0, held=False, fault=f"{reached} of {length} bytes are there" if reached < length else "")

    def _jump(self, position: int) -> None:
        self.stream.rewind(position)
        self._buffer, self._index, self._ended = bytearray(), 0, False
        self.position = position

    @property
    def damage(self) -> Damaged | None:
        """Why the compressed stream broke off, once that was reached."""
        return self.stream.damage if self._ended else None
