"""Turn document shards into vector shards, file by file.

One task reads one parquet shard in batches and writes one Arrow file of (doc_id, snapshot, vector); memory is one
batch of texts and its vectors. The files are scratch: the caller commits them all at once to the vector table.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.embedding.embedder import Embedder, load_embedder
from gem_assets.mapping import ShardMap, serial_map

BATCH_ROWS = 4_096


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
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in pq.ParquetFile(shard, pre_buffer=False).iter_batches(
            BATCH_ROWS, columns=["doc_id", "snapshot", "text"]
        ):
            vectors = embedder.transform(batch.column("text"))
            flat = pa.array(vectors.reshape(-1), pa.float32())
            columns = [
                batch.column("doc_id").cast(pa.string()),
                batch.column("snapshot").cast(pa.string()),
                pa.FixedSizeListArray.from_arrays(flat, embedder.dimension),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return target


def encode_shards(shards: Sequence[Path], space: Path, out: Path, map_shards: ShardMap = serial_map) -> list[Path]:
    """Encode every shard; the files come back in the order of ``shards``."""
    return list(map_shards(partial(encode_shard, space=space, out=out), shards, "embedding shards"))
