"""A compressed file that can be read ahead and rewound, for the decoders of ``codecs.py``."""

from typing import BinaryIO, Final

from gem_assets.corpus.readers.records import Damaged

BLOCK: Final = 1 << 18
_FIRST_READ: Final = 1 << 12


class Raw:
    """The bytes of a file from its present position on; pieces can be given back."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._held = b""
        self._index = 0
        self._next = source.tell()
        self._step = _FIRST_READ

    @property
    def offset(self) -> int:
        """File offset of the next byte."""
        return self._next - len(self._held) + self._index

    def seek(self, offset: int) -> None:
        """Go to a file offset."""
        self._source.seek(offset)
        self._held, self._index, self._next, self._step = b"", 0, offset, _FIRST_READ

    def _read(self, size: int = 0) -> bytes:
        """Read on, little at first: who looks for a frame continues elsewhere as a rule."""
        data = self._source.read(max(self._step, size))
        self._step = min(self._step * 2, BLOCK)
        self._next += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them; fewer than ``size`` only at the end of the file."""
        while len(self._held) - self._index < size and (more := self._read(size)):
            self._held, self._index = self._held[self._index :] + more, 0
        return self._held[self._index : self._index + size]

    def take(self, size: int) -> bytes:
        """Return from 1 to ``size`` bytes; none at the end of the file."""
        if self._index == len(self._held):
            self._held, self._index = self._read(), 0
        data = self._held[self._index : self._index + size]
        self._index += len(data)
        return data

    def give_back(self, size: int) -> None:
        """Put back the end of what was taken last."""
        self._index -= size

    def exactly(self, size: int, codec: str) -> bytes:
        """Return ``size`` bytes.

        Raises Damaged when the file ends before; all that is left has been taken.
        """
        data = self.peek(size)
        self._index += len(data)
        if len(data) < size:
            raise truncated(codec)
        return data

    def skip(self, size: int, codec: str) -> None:
        """Leave out ``size`` bytes; raises as :meth:`exactly` does."""
        while size > 0:
            data = self.take(min(size, BLOCK))
            if not data:
                raise truncated(codec)
            size -= len(data)

    def skip_zeros(self) -> None:
        """Leave out padding."""
        while data := self.take(BLOCK):
            if rest := data.lstrip(b"\0"):
                self.give_back(len(rest))
                return


def truncated(codec: str) -> Damaged:
    """Return what a frame is that ends with its file."""
    return Damaged(f"truncated_{codec}", f"the file ends inside a {codec} frame")


def damaged(codec: str, detail: object) -> Damaged:
    """Return what a broken frame is, with what is wrong with it."""
    return Damaged(f"damaged_{codec}", str(detail)[:200])
