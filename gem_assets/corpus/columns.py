"""Arrow columns made of their buffers, and numpy arrays of those buffers.

``pyarrow.array``, ``pyarrow.scalar`` and ``numpy.asarray`` of a column import pandas, where it is installed, to find
out whether they were given something of pandas. That takes 37 MB and a quarter of a second in every process that reads
files, so that nothing on the way from a file to its rows calls them.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_KINDS: Final = {"int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32()}


def strings(values: Sequence[str | None]) -> pa.Array:
    """Return a ``string`` column.

    Raises
    ------
    UnicodeEncodeError
        A value holds lone surrogates.
    OverflowError
        The values have 2 GiB or more together.
    """
    raw = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum([0, *map(len, raw)])
    if ends[-1] > np.iinfo(np.int32).max:
        raise OverflowError("a column of strings of 2 GiB or more")
    there = np.fromiter((value is not None for value in values), np.bool_, len(values))
    buffers = [None if there.all() else _bits(there), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(raw))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def numbers(values: NDArray[Any]) -> pa.Array:
    """Return a column of an array of int32, int64 or float32, without a copy."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(_KINDS[values.dtype.name], len(values), buffers)


def flags(values: NDArray[np.bool_]) -> pa.Array:
    """Return a ``bool`` column."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def valid(column: pa.Array) -> NDArray[np.bool_]:
    """Return which values of a column are not null, bool (n,)."""
    bits = column.buffers()[0]
    if bits is None:
        return np.ones(len(column), np.bool_)
    first = column.offset
    return np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[first : first + len(column)].astype(np.bool_)


def integers(column: pa.Array) -> NDArray[np.int64]:
    """Return the values of a column of integers; those of nulls are any."""
    if not len(column):
        return np.empty(0, np.int64)
    kind = np.dtype(str(column.type))
    return np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize).astype(np.int64)


def bounds(column: pa.Array) -> NDArray[np.int64]:
    """Return where values of ``large_string`` or ``large_binary`` begin, and the last one ends, int64 (n + 1,)."""
    if not len(column):
        return np.zeros(1, np.int64)
    return np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, column.offset * 8)
