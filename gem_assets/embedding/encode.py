"""Turn document shards into vector shards, file by file.

One task reads one parquet shard in batches and writes one Arrow file of (doc_id, snapshot, vector); memory is one
batch of texts and its vectors. The files are scratch: the caller commits them all at once to the vector table.

Documents for which the encoder gives no direction have no vector. They are named in a parquet file beside the other.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.embedding.base import Embedder, has_direction
from gem_assets.embedding.embedder import load_embedder
from gem_assets.parallel.shard_map import ShardMap, serial_map

BATCH_ROWS = 4_096
LEFT_OUT_SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("doc_id", "snapshot", "reason")])
NOT_FINITE, ZERO = "not_finite", "zero"
_NAMED = 10


class EncoderFailsError(RuntimeError):
    """An encoder gives vectors that are not finite for more documents than may be left out."""


def vector_schema(dimension: int) -> pa.Schema:
    """Schema of the vector table for vectors of ``dimension`` float32 values."""
    return pa.schema(
        [
            pa.field("doc_id", pa.string(), nullable=False),
            pa.field("snapshot", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),
        ]
    )


@lru_cache(maxsize=1)
def _cached_embedder(space: str) -> Embedder:
    return load_embedder(Path(space))


def encode_shard(shard: Path, *, space: Path, out: Path) -> Path:
    """Encode one parquet shard; returns the Arrow file written into ``out``."""
    embedder = _cached_embedder(str(space))
    schema = vector_schema(embedder.dimension)
    target = out / f"{shard.stem}.arrow"
    left_out = pq.ParquetWriter(_left_out_path(target), LEFT_OUT_SCHEMA)
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, schema) as writer, left_out:
        for batch in pq.ParquetFile(shard, pre_buffer=False).iter_batches(
            BATCH_ROWS, columns=["doc_id", "snapshot", "text"]
        ):
            vectors = embedder.transform(batch.column("text"))
            usable = has_direction(vectors)
            names = [batch.column(name).cast(pa.string()) for name in ("doc_id", "snapshot")]
            if not usable.all():
                failed = pa.array(~usable)
                finite = np.isfinite(vectors[~usable]).all(axis=1)
                reasons = pa.array(np.where(finite, ZERO, NOT_FINITE).tolist(), pa.string())
                left_out.write(pa.table([*[name.filter(failed) for name in names], reasons], schema=LEFT_OUT_SCHEMA))
                vectors, names = vectors[usable], [name.filter(pa.array(usable)) for name in names]
            flat = pa.array(vectors.reshape(-1), pa.float32())
            columns = [
                *names,
                pa.FixedSizeListArray.from_arrays(flat, embedder.dimension),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return target


def files_of(target: Path) -> list[Path]:
    """Return the files of a shard of which :func:`encode_shard` returned one."""
    return [target, _left_out_path(target)]


def _left_out_path(target: Path) -> Path:
    return target.with_suffix(".left_out.parquet")


def left_out_documents(files: Sequence[Path], documents: int, most: float) -> pa.Table:
    """Return the documents without a vector: doc_id, snapshot and reason (``not_finite`` or ``zero``).

    ``most`` is the largest share of them whose vectors may be not finite.

    Raises EncoderFailsError when more are: then it is the encoder that is broken. The message names the first of them.
    """
    tables = [pq.read_table(_left_out_path(path)) for path in files]
    table = pa.concat_tables(tables) if tables else LEFT_OUT_SCHEMA.empty_table()
    rows = table.to_pylist()
    broken = [row["doc_id"] for row in rows if row["reason"] == NOT_FINITE]
    if len(broken) > most * documents:
        named = ", ".join(broken[:_NAMED]) + (", …" if len(broken) > _NAMED else "")
        raise EncoderFailsError(
            f"the vectors of {len(broken)} of {documents} documents are not finite (NaN or infinite), more than the "
            f"share of {most:g} that is left out: {named}. Repair the encoder or choose another (embedding.model), or "
            "raise embedding.most_without_vector to continue without these documents"
        )
    return table


def encode_shards(shards: Sequence[Path], space: Path, out: Path, map_shards: ShardMap = serial_map) -> list[Path]:
    """Encode every shard; the files come back in the order of ``shards``."""
    return list(map_shards(partial(encode_shard, space=space, out=out), shards, "embedding shards"))
