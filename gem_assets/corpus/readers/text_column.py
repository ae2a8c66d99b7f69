"""The text column of a batch of a parquet file: which rows can be read, and these without a string of Python."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.columns import bounds, integers, numbers, valid


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Texts of some rows; rows of one dictionary entry share its bytes, however many they are.

    Attributes
    ----------
    sizes
        Bytes of each text, int64 (n,); 0 for none.
    readable
        Whether there is a text, and it is UTF-8, bool (n,).
    """

    sizes: NDArray[np.int64]
    readable: NDArray[np.bool_]
    _values: pa.Array
    _places: NDArray[np.int64] | None

    @classmethod
    def of(cls, column: pa.Array) -> Self:
        """Return a column of strings or bytes, or of a dictionary of them.

        Raises ArrowInvalid when an index leads out of the dictionary.
        """
        where: NDArray[np.int64] | None = None
        if isinstance(column, pa.DictionaryArray):
            where, column = places(column), column.dictionary
            if len(column) > len(where):
                # many short batches may share a long dictionary
                used = np.unique(where[where >= 0])
                where = np.where(where >= 0, np.searchsorted(used, where), -1)
                column = column.take(numbers(used))
        # as bytes: one row that is not UTF-8 must not stop the others
        values = column.cast(pa.large_binary())
        there = valid(values)
        sizes, readable = np.where(there, np.diff(bounds(values)), 0), there & _is_utf8(values)
        if where is not None:
            # -1, a null, is the last one
            sizes, readable = np.append(sizes, 0)[where], np.append(readable, False)[where]
        return cls(sizes, readable, values, where)

    def __getitem__(self, row: int) -> bytes | None:
        """Return the bytes of one row."""
        place = row if self._places is None else int(self._places[row])
        return None if place < 0 else self._values[place].as_py()

    def part(self, start: int, stop: int) -> pa.Array:
        """Return some rows, which have to be readable, as ``large_string``."""
        if self._places is None:
            return self._values.slice(start, stop - start).view(pa.large_string())
        return self._values.take(numbers(self._places[start:stop])).view(pa.large_string())


def places(column: pa.DictionaryArray) -> NDArray[np.int64]:
    """Return the place of each row's value in the dictionary, int64 (n,); -1 for a null.

    Raises ArrowInvalid when an index leads out of the dictionary. Arrow reads indices without comparing them, and -1
    would be another row's value.
    """
    found, there = integers(column.indices), valid(column.indices)
    wrong = found[there & ((found < 0) | (found >= len(column.dictionary)))]
    if len(wrong):
        raise pa.ArrowInvalid(f"index {wrong[0]} into a dictionary of {len(column.dictionary)} values")
    return np.where(there, found, -1)


def _is_utf8(values: pa.Array) -> NDArray[np.bool_]:
    try:
        values.cast(pa.large_string())
    except pa.ArrowInvalid:
        return np.array([_decodes(value) for value in values.to_pylist()], np.bool_)
    return np.ones(len(values), np.bool_)


def _decodes(value: bytes | None) -> bool:
    try:
        (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
