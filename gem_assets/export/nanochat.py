"""nanochat: parquet shards whose order is the mixture.

Unit: none. Row groups of the sorted ``shard_*.parquet`` are trained in order and the last shard validates, so the
training order itself is written: one that was built before (``training_order``), with its curve, phases, repeats and
metadata prefix, or a random one drawn here to the recipe's token shares. A shuffle of documents by token share would
be wrong by the ratio of document lengths.

Validation documents are never trained: without an order they are held out by a digest of their id before anything is
drawn; with one they are documents that it does not hold. They come in the recipe's shares as far as they reach.
Documents are joined to their positions and sorted by DuckDB, spilling to disk. Writes ``data/shard_*.parquet``.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.export.base import DATA, Buckets, ExportJob, Format
from gem_assets.export.config import ExportConfig
from gem_assets.export.documents import Corpus
from gem_assets.export.ledger import keep_written
from gem_assets.export.report import ExportError, ExportReport
from gem_assets.ordering.config import CurveConfig, MetadataPrefix, OrderingConfig
from gem_assets.ordering.draw import draw
from gem_assets.ordering.external import read_batches
from gem_assets.ordering.hashing import document_keys, seeded, unit_interval
from gem_assets.ordering.metadata import with_prefix
from gem_assets.ordering.plan import RunPlan
from gem_assets.ordering.training_order import order_files, write_order
from gem_assets.types import Floats, Ints

_ROW_GROUP = 1024
_ROWS = 4096
_VALIDATION_DOCUMENTS = 8192
# the epoch number that stands for the hold-out, so that it shares nothing with the draw
_HOLD_OUT = 2**32
_SHARD = pa.schema(
    [("text", pa.large_string()), ("doc_id", pa.string()), ("cluster", pa.int16()), ("n_tokens", pa.int64())]
)
_STAGED = pa.schema([*_SHARD, ("url", pa.string()), ("held_out", pa.bool_())])


def write(job: ExportJob) -> ExportReport:
    """Write a recipe for nanochat, with a training order or one that is drawn here; read it back, and report."""
    plan, config, out, order = job.plan, job.config, job.out, job.order
    (out / DATA).mkdir()
    with TemporaryDirectory(dir=out, prefix=".work-") as folder:
        work = Path(folder)
        texts = work / "texts.parquet"
        with job.open_corpus() as corpus:
            buckets, longest = _stage(corpus, plan, texts, config)
        drawn_here = order is None
        if order is None:
            order = work / "order"
            order.mkdir()
            _draw_order(plan, texts, order, config)
        with duckdb.connect(
            config={"memory_limit": f"{config.memory_mb}MiB", "threads": config.threads, "temp_directory": str(work)}
        ) as connection:
            connection.execute("SET enable_progress_bar = false")
            connection.read_parquet(str(texts)).create_view("texts")
            connection.read_parquet([str(path) for path in order_files(order)]).create_view("trained")
            phase = None if drawn_here else config.phase
            shards = _write(_trained(connection, phase, job.prefix), out / DATA, 0, config.shard_bytes)
            held = _validation(connection, job)
            validation = _write(held, out / DATA, shards, 2**62)
    keep_written(out, sorted((out / DATA).glob("shard_*.parquet")))
    tokens, rows = _read_back(out / DATA, plan, shards)
    job.require_documents(np.flatnonzero(tokens).tolist())
    return job.report(
        buckets,
        tokens / tokens.sum(),
        tokens,
        naive_shares=job.document_unit_shares(buckets),
        naive="documents shuffled in proportion to the token shares",
        usage="copy data/*.parquet into $NANOCHAT_BASE_DIR/base_data before scripts.base_train",
        slack=np.maximum(longest / 2, config.sequence_length),
        notes=[
            f"{shards} shards with {rows} documents in row groups of {_ROW_GROUP}, {validation} for validation",
            "ranks read every n-th row group: with few row groups they see different parts of the order",
        ],
    )


def _stage(corpus: Corpus, plan: RunPlan, path: Path, config: ExportConfig) -> tuple[Buckets, Ints]:
    """Write the documents with their token counts and whether they are held out; return sizes and longest documents."""
    longest = np.zeros(len(plan.clusters), dtype=np.int64)
    sizes = np.zeros((2, len(plan.clusters)), dtype=np.int64)
    with pq.ParquetWriter(path, _STAGED, compression="lz4", use_dictionary=False) as writer:
        for index, parts in corpus.clusters():
            cluster = int(plan.clusters[index])
            for part in parts:
                ids = pa.array(part.doc_ids, pa.string())
                digest = unit_interval(seeded(document_keys(ids), config.seed, _HOLD_OUT))
                columns = [
                    pa.array(part.texts, pa.large_string()),
                    ids,
                    pa.array(np.full(len(ids), cluster, dtype=np.int16)),
                    pa.array(part.lengths),
                    pa.array(part.urls, pa.string()),
                    pa.array(digest < config.validation_share),
                ]
                writer.write_batch(pa.record_batch(columns, schema=_STAGED))
                sizes[:, index] += (len(ids), int(part.lengths.sum()))
                longest[index] = max(int(longest[index]), int(part.lengths.max()))
    return Buckets(documents=sizes[0], tokens=sizes[1]), longest


def _draw_order(plan: RunPlan, texts: Path, out: Path, config: ExportConfig) -> None:
    """Build a random order of the documents that are not held out."""

    def candidates() -> Iterator[pa.RecordBatch]:
        for batch in read_batches(texts, ["doc_id", "cluster", "n_tokens", "held_out"]):
            yield batch.filter(pc.call_function("invert", [batch.column("held_out")]))

    settings = OrderingConfig(
        curve=CurveConfig(strategy="random", seed=config.seed),
        score="n_tokens",
        draw_seed=config.seed,
        memory_mb=config.memory_mb,
        threads=config.threads,
    )
    write_order(candidates(), plan, settings, out)


def _trained(
    connection: duckdb.DuckDBPyConnection, phase: int | None, prefix: MetadataPrefix | None
) -> Iterator[pa.RecordBatch]:
    """Training documents in their order."""
    unknown = connection.sql("SELECT doc_id FROM trained ANTI JOIN texts USING (doc_id)").limit(1).to_arrow_table()
    if len(unknown):
        raise ExportError(
            f"the order names document {unknown.column('doc_id')[0].as_py()}, which is not among those given; build "
            "the order again from these documents"
        )
    joined = connection.sql(
        "SELECT texts.text, trained.doc_id, trained.cluster, texts.n_tokens, texts.url, trained.metadata, "
        "trained.phase, trained.position FROM trained JOIN texts USING (doc_id)"
    )
    if phase is not None:
        joined = joined.filter(f"phase = {phase}")
    for batch in joined.order("position").to_arrow_reader(_ROWS):
        text = batch.column("text").cast(pa.large_string())
        if prefix is not None:
            rows = zip(
                text.to_pylist(), batch.column("url").to_pylist(), batch.column("metadata").to_pylist(), strict=True
            )
            text = pa.array([with_prefix(t, u, prefix.template) if m else t for t, u, m in rows], pa.large_string())
        yield pa.record_batch([text, *(batch.column(n) for n in _SHARD.names[1:])], schema=_SHARD)


def _validation(connection: duckdb.DuckDBPyConnection, job: ExportJob) -> Iterator[pa.RecordBatch]:
    """Documents that are never trained, in the recipe's shares, some thousand of them."""
    unused = (
        connection.sql(
            "SELECT doc_id, cluster, n_tokens FROM texts ANTI JOIN trained USING (doc_id) "
            "ORDER BY held_out DESC, md5(doc_id), doc_id"
        )
        .limit(64 * _VALIDATION_DOCUMENTS)
        .to_arrow_table()
    )
    cluster, tokens = unused.column("cluster").to_numpy(), unused.column("n_tokens").to_numpy()
    available = {int(c): float(tokens[cluster == c].sum()) for c in np.unique(cluster)}
    shares = {c: s for c, s in job.plan.shares.items() if available.get(c, 0.0) > 0}
    if not shares:
        raise job.refused(
            "its last shard validates and every document is trained; lower the token budget, raise "
            "validation_share or export without an order built before"
        )
    most = _VALIDATION_DOCUMENTS * float(tokens.mean())
    total = min([available[c] / s for c, s in shares.items()] + [most])
    chosen = draw(unused, {c: s * total for c, s in shares.items()}, job.config.seed)
    if not len(chosen):
        chosen = unused.slice(0, 1)
    connection.register("chosen", chosen.select(["doc_id"]))
    query = (
        "SELECT texts.text, texts.doc_id, texts.cluster, texts.n_tokens FROM texts JOIN chosen USING (doc_id) "
        "ORDER BY md5(texts.doc_id), texts.doc_id"
    )
    for batch in connection.sql(query).to_arrow_reader(_ROWS):
        yield batch.cast(_SHARD)


def _write(batches: Iterator[pa.RecordBatch], folder: Path, first: int, shard_bytes: int) -> int:
    """Write shards from number `first` on, in row groups of 1024 documents; return how many."""
    writer: pq.ParquetWriter | None = None
    written = room = 0
    waiting: list[pa.RecordBatch] = []
    try:
        for batch in batches:
            waiting.append(batch)
            if sum(b.num_rows for b in waiting) < _ROW_GROUP:
                continue
            table = pa.Table.from_batches(waiting)
            whole = table.num_rows // _ROW_GROUP * _ROW_GROUP
            for start in range(0, whole, _ROW_GROUP):
                if writer is None or room <= 0:
                    if writer is not None:
                        writer.close()
                    writer = _open(folder, first + written)
                    written, room = written + 1, shard_bytes
                group = table.slice(start, _ROW_GROUP)
                writer.write_table(group, row_group_size=_ROW_GROUP)
                room -= group.nbytes
            waiting = table.slice(whole).to_batches()
        rest = pa.Table.from_batches(waiting, schema=_SHARD)
        if rest.num_rows:
            if writer is None:
                writer = _open(folder, first)
                written = 1
            writer.write_table(rest, row_group_size=_ROW_GROUP)
    finally:
        if writer is not None:
            writer.close()
    return written


def _open(folder: Path, number: int) -> pq.ParquetWriter:
    return pq.ParquetWriter(folder / f"shard_{number:05d}.parquet", _SHARD, compression="zstd", use_dictionary=False)


def _read_back(folder: Path, plan: RunPlan, shards: int) -> tuple[Floats, int]:
    """(K,) tokens of each cluster in the training shards, and their documents."""
    tokens, rows = np.zeros(len(plan.clusters)), 0
    for path in sorted(folder.glob("shard_*.parquet"))[:shards]:
        for batch in read_batches(path, ["cluster", "n_tokens"]):
            at = np.searchsorted(plan.clusters, batch.column("cluster").to_numpy())
            tokens += np.bincount(at, weights=batch.column("n_tokens").to_numpy(), minlength=len(tokens))
            rows += batch.num_rows
    return tokens, rows


FORMAT = Format(write, "order on disk", phases=True, whole_sequences=False)
