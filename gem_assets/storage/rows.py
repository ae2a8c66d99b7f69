"""An order-independent digest of the rows of a table, which tells whether two tables hold the same rows.

Each row becomes bytes without ambiguity (values of fixed width side by side with a bit for null, then every
string with its length), is hashed with BLAKE2b to 32 bytes, and the hashes are added up lane by lane modulo
2^64. A sum does not depend on the order or on how rows were cut into batches, and can be taken in a stream; a
row that stands twice counts twice (XOR would cancel it). The row count and the schema go into the final digest.

This tells changes apart that happen; it is not a defence against someone who constructs rows to collide (sums of
hashes can be attacked with enough rows). What an auditor gets is the Merkle root in ``merkle``.

Cost on one core: 0.4 million rows per second with vectors of 256 floats (430 MB/s), 1.9 million rows per second
of a label table; memory is one batch.
"""

# pyarrow ships no types
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gem_assets.storage.identity import digest

_LANES = 4
_CHUNK_ROWS = 16_384


class RowDigest:
    """Running digest over record batches of one schema.

    ``columns`` count, in any order; None takes the columns of the first batch. Field and schema metadata and
    nullability do not count.
    """

    def __init__(self, columns: Iterable[str] | None = None) -> None:
        self._columns = None if columns is None else sorted(columns)
        self._types: list[str] | None = None
        self._sums = np.zeros(_LANES, dtype=np.uint64)
        self.rows = 0

    def update(self, data: pa.RecordBatch | pa.Table) -> "RowDigest":
        """Add the rows of a batch or table; returns itself.

        Raises
        ------
        ValueError
            When a column is missing or has another type than in the batches before.
        TypeError
            When a column's type cannot be put into bytes (maps, unions, variable lists, extension types).
        """
        if self._columns is None:
            self._columns = sorted(data.schema.names)
        missing = [name for name in self._columns if name not in data.schema.names]
        if missing:
            raise ValueError(f"columns {missing} are missing; the batch has {data.schema.names}")
        types = [_type_name(data.schema.field(name).type) for name in self._columns]
        if self._types is None:
            self._types = types
        elif types != self._types:
            raise ValueError(f"columns {self._columns} had types {self._types}, now {types}")
        batches = data.to_batches() if isinstance(data, pa.Table) else [data]
        for batch in batches:
            for start in range(0, batch.num_rows, _CHUNK_ROWS):
                self._add(batch.slice(start, _CHUNK_ROWS))
        return self

    def hexdigest(self) -> str:
        """Return the digest (64 hex) of what was added so far."""
        return digest(
            {
                "columns": self._columns or [],
                "types": self._types or [],
                "rows": self.rows,
                "sums": [int(lane) for lane in self._sums],
            }
        )

    def _add(self, batch: pa.RecordBatch) -> None:
        n = batch.num_rows
        fixed: list[npt.NDArray[np.uint8]] = []
        strings: list[pa.Array] = []
        for name in self._columns or []:
            _encode(batch.column(name), name, fixed, strings)
        left = np.concatenate([*fixed, np.zeros((n, 0), np.uint8)], axis=1)
        width, prefix = left.shape[1], left.tobytes()
        hashes = bytearray()
        if strings:
            joined = (
                strings[0]
                if len(strings) == 1
                else pc.binary_join_element_wise(*strings, pa.scalar(b"", pa.large_binary()))
            )
            for i, tail in enumerate(joined.to_pylist()):
                hashes += hashlib.blake2b(prefix[i * width : (i + 1) * width] + tail, digest_size=32).digest()
        else:
            for i in range(n):
                hashes += hashlib.blake2b(prefix[i * width : (i + 1) * width], digest_size=32).digest()
        lanes = np.frombuffer(bytes(hashes), dtype="<u8").reshape(n, _LANES)
        self._sums = self._sums + lanes.sum(axis=0, dtype=np.uint64)
        self.rows += n


def _type_name(kind: pa.DataType) -> str:
    # the same text in 32-bit and 64-bit offsets is the same content
    if pa.types.is_large_string(kind):
        return "string"
    if pa.types.is_large_binary(kind):
        return "binary"
    if pa.types.is_fixed_size_list(kind):
        return f"{_type_name(kind.value_type)}[{kind.list_size}]"
    return str(kind)


def _encode(array: pa.Array, name: str, fixed: list[npt.NDArray[np.uint8]], strings: list[pa.Array]) -> None:
    kind, n = array.type, len(array)
    if array.null_count:
        fixed.append(array.is_null().to_numpy(zero_copy_only=False).astype(np.uint8)[:, None])
    else:
        fixed.append(np.zeros((n, 1), np.uint8))
    if pa.types.is_dictionary(kind):
        _encode(array.dictionary_decode(), name, fixed, strings)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind) or (
        pa.types.is_large_binary(kind)
    ):  # fmt: skip
        tails = array.cast(pa.large_binary()).fill_null(b"")
        lengths = pc.binary_length(tails).to_numpy(zero_copy_only=False).astype("<i8")
        fixed.append(lengths.view(np.uint8).reshape(n, 8))
        strings.append(tails)
    elif pa.types.is_null(kind):
        return
    else:
        fixed.append(_fixed_bytes(array, name))


def _fixed_bytes(array: pa.Array, name: str) -> npt.NDArray[np.uint8]:
    kind, n = array.type, len(array)
    if pa.types.is_fixed_size_list(kind):
        if array.null_count:
            filled = array.fill_null(pa.scalar([0] * kind.list_size, type=kind)) if n else array
            return _fixed_bytes(filled, name)
        values = array.flatten()
        if values.null_count:
            raise TypeError(f"column {name!r} has nulls inside its vectors; write whole vectors or a null vector")
        return np.ascontiguousarray(_fixed_bytes(values, name)).reshape(n, -1)
    if pa.types.is_boolean(kind):
        return array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint8)[:, None]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = array.fill_null(0).to_numpy(zero_copy_only=False)
    elif pa.types.is_temporal(kind):
        # days in 32 bits, everything finer in 64
        values = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).fill_null(0).to_numpy()
    else:
        raise TypeError(f"column {name!r} has type {kind}, which has no byte form here; cast it to a plain type")
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(n, values.dtype.itemsize)
