"""Content digests and document ids: 32 hex digits in every table, 16 raw bytes in memory."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.text.cleaning import DIGEST_BYTES
from gem_assets.storage.spill import DIGEST

_NOT_HEX = 255
_VALUES = np.full(256, _NOT_HEX, np.uint8)
_VALUES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)


def pack_hex(column: pa.Array) -> NDArray[np.bytes_]:
    """Return a column of 32 hex digits as (n,) raw bytes.

    Raises ValueError when a value is null or anything else than 32 lower-case hex digits.
    """
    if not len(column):
        return np.empty(0, DIGEST)
    strings = column.cast(pa.large_string())
    _, offsets, data = strings.buffers()
    ends = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    digits = _VALUES[np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]]
    if strings.null_count or (np.diff(ends) != 2 * DIGEST_BYTES).any() or (digits == _NOT_HEX).any():
        raise ValueError("a digest or id is not 32 hex digits; the file was not written by an ingest")
    pairs = digits.reshape(-1, 2)
    return (pairs[:, 0] << 4 | pairs[:, 1]).view(DIGEST)


def unpack_hex(packed: NDArray[np.bytes_]) -> list[str]:
    """Return raw bytes as hex strings."""
    # not .tolist(): numpy drops zero bytes at the end of byte strings
    joined = np.ascontiguousarray(packed).tobytes().hex()
    width = 2 * DIGEST_BYTES
    return [joined[i : i + width] for i in range(0, len(joined), width)]
