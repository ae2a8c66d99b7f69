"""Seeded document samples that do not depend on file order, worker count or snapshot order.

A document's rank is a 64-bit mix of its id and the seed; the sample is the ``n`` smallest ranks (a bottom-k sketch).
Adding a snapshot exchanges only the documents that the new ones outrank, and the same documents are drawn from shards
as from the vector table. Cost: one pass over the id column, then one over the wanted columns; memory is bounded by the
sample and one batch.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

BATCH_ROWS = 16_384

Scan = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]


def document_ranks(doc_ids: pa.Array | pa.ChunkedArray, seed: int) -> NDArray[np.uint64]:
    """Return the pseudo-random 64-bit rank of each document id.

    ``doc_ids`` are 32-digit hexadecimal strings, without nulls.

    Raises ValueError when an id is null or not 32 hexadecimal digits.
    """
    if len(doc_ids) and pc.all(pc.equal(pc.utf8_length(doc_ids), 32)).as_py() is not True:
        raise ValueError("document ids must be 32 hexadecimal digits each")
    raw = np.frombuffer(bytes.fromhex("".join(doc_ids.to_pylist())), dtype=">u8")
    x = raw.reshape(-1, 2)[:, 0].astype(np.uint64) ^ np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    # splitmix64's finaliser: neighbouring seeds must give unrelated samples
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def sample_threshold(id_batches: Iterable[pa.Array | pa.ChunkedArray], n: int, *, seed: int) -> np.uint64 | None:
    """Return the largest rank inside the sample of ``n``, or None when every document belongs to it."""
    kept = np.empty(0, dtype=np.uint64)
    total = 0
    for ids in id_batches:
        ranks = document_ranks(ids, seed)
        total += len(ranks)
        kept = np.concatenate([kept, ranks])
        if len(kept) > 2 * n:
            kept = np.partition(kept, n - 1)[:n]
    if total <= n:
        return None
    return np.uint64(np.partition(kept, n - 1)[n - 1])


def in_sample(doc_ids: pa.Array | pa.ChunkedArray, threshold: np.uint64 | None, *, seed: int) -> NDArray[np.bool_]:
    """Return which documents fall inside the sample that ``threshold`` bounds."""
    if threshold is None:
        return np.ones(len(doc_ids), dtype=bool)
    return document_ranks(doc_ids, seed) <= threshold


def sample_rows(scan: Scan, n: int, *, seed: int, columns: Sequence[str]) -> pa.Table:
    """Draw ``n`` documents from anything that can be scanned twice, sorted by document id.

    Raises ValueError when ``n`` is not positive or nothing was scanned.

    Parameters
    ----------
    scan
        Called with column names, yields record batches; once for the ids, once for the wanted columns.
    n
        Sample size in documents; fewer are returned when there are fewer.
    columns
        Columns to return; ``doc_id`` is always among them.
    """
    if n <= 0:
        raise ValueError(f"sample size must be positive, got {n}")
    wanted = list(dict.fromkeys(["doc_id", *columns]))
    threshold = sample_threshold((batch.column("doc_id") for batch in scan(["doc_id"])), n, seed=seed)
    return _collect(scan(wanted), lambda ids: in_sample(ids, threshold, seed=seed))


def sample_documents(shards: Mapping[str, Sequence[Path]], n: int, *, seed: int, columns: Sequence[str]) -> pa.Table:
    """Draw ``n`` documents from parquet shards, given by snapshot; see :func:`sample_rows`."""
    return sample_rows(partial(scan_shards, shards), n, seed=seed, columns=columns)


def select_documents(
    shards: Mapping[str, Sequence[Path]], doc_ids: pa.Array | pa.ChunkedArray, columns: Sequence[str]
) -> pa.Table:
    """Fetch given documents from parquet shards, sorted by document id; absent ones are left out."""
    wanted = list(dict.fromkeys(["doc_id", *columns]))
    ids = pa.array(doc_ids.to_pylist(), pa.string())
    return _collect(
        scan_shards(shards, wanted),
        lambda found: np.asarray(pc.is_in(found, value_set=ids).to_numpy(zero_copy_only=False), dtype=bool),
    )


def scan_shards(shards: Mapping[str, Sequence[Path]], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Stream columns of parquet shards, file after file in the order given.

    Raises ValueError when there is no shard at all.
    """
    files = [path for paths in shards.values() for path in paths]
    if not files:
        raise ValueError("no shards to read: ingest a snapshot first")
    for path in files:
        yield from pq.ParquetFile(path, pre_buffer=False).iter_batches(BATCH_ROWS, columns=list(columns))


def _collect(batches: Iterable[pa.RecordBatch], keep: Callable[[pa.Array], NDArray[np.bool_]]) -> pa.Table:
    schema: pa.Schema | None = None
    picked: list[pa.RecordBatch] = []
    for batch in batches:
        schema = batch.schema if schema is None else schema
        mask = keep(batch.column("doc_id"))
        if mask.any():
            picked.append(batch.filter(pa.array(mask)))
    if schema is None:
        raise ValueError("nothing to sample from: ingest a snapshot first")
    table = pa.Table.from_batches(picked, schema=schema)
    return table.take(pc.sort_indices(table, sort_keys=[("doc_id", "ascending")]))


def thinned(batches: Iterable[pa.RecordBatch], rows: int, most: int) -> Iterator[pa.RecordBatch]:
    """Yield every nth batch of a stream of ``rows`` rows, so that about ``most`` rows come, from all over it."""
    step = max(1, -(-rows // most))
    for number, batch in enumerate(batches):
        if number % step == 0:
            yield batch
