"""What one snapshot says about drift, in sums that can be added: label counts, unsure labels, likelihoods by language.

Labels are counted over all documents; the log-likelihood under the teacher (``GemTeacher.score_samples``, nats) over a
bottom-k sample of the vectors. Cost: one pass over three narrow columns of the labels and one over the sampled vectors.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.drift.config import DriftConfig
from gem_assets.sampling import Scan, sample_rows
from gem_assets.sphere.gem import GemTeacher
from gem_assets.sphere.seed_fit import vectors_of

COUNTS_NAME, LIKELIHOOD_NAME = "labels.parquet", "likelihood.parquet"
COUNTS_SCHEMA = pa.schema(
    [("lang", pa.string()), ("cluster", pa.int16()), ("documents", pa.int64()), ("unsure", pa.int64())]
)
LIKELIHOOD_SCHEMA = pa.schema(
    [("lang", pa.string()), ("documents", pa.int64()), ("total", pa.float64()), ("squares", pa.float64())]
)
SEED = 0
UNDETERMINED = "und"


def publish_statistics(
    labels: Iterable[pa.RecordBatch], vectors: Scan, teacher: GemTeacher, config: DriftConfig, out: Path
) -> dict[str, int]:
    """Measure one snapshot and write its sums into ``out``.

    Parameters
    ----------
    labels
        Batches with ``doc_id``, ``lang``, ``cluster`` and ``margin``.
    vectors
        Scan of the snapshot's vector table.
    teacher
        The teacher that the labels go back to.
    """
    counted: list[pa.Table] = []
    langs: list[pa.Table] = []
    for batch in labels:
        table = pa.table(
            {
                "doc_id": batch.column("doc_id"),
                "lang": pc.fill_null(batch.column("lang").cast(pa.string()), UNDETERMINED),
                "cluster": batch.column("cluster").cast(pa.int16()),
                "unsure": pc.less(batch.column("margin"), config.margin).cast(pa.int64()),
            }
        )
        langs.append(table.select(["doc_id", "lang"]))
        grouped = table.group_by(["lang", "cluster"], use_threads=False)
        counted.append(grouped.aggregate([("unsure", "count"), ("unsure", "sum")]))
    counts = _summed(counted)
    pq.write_table(counts, out / COUNTS_NAME, compression="zstd")
    likelihood = LIKELIHOOD_SCHEMA.empty_table()
    if counts.num_rows:
        likelihood = _likelihood(pa.concat_tables(langs), vectors, teacher, config)
    pq.write_table(likelihood, out / LIKELIHOOD_NAME, compression="zstd")
    return {
        "documents": int(pc.sum(counts.column("documents")).as_py() or 0),
        "unsure": int(pc.sum(counts.column("unsure")).as_py() or 0),
        "scored": int(pc.sum(likelihood.column("documents")).as_py() or 0),
    }


def _summed(parts: list[pa.Table]) -> pa.Table:
    if not parts:
        return COUNTS_SCHEMA.empty_table()
    merged = pa.concat_tables(parts).group_by(["lang", "cluster"], use_threads=False)
    sums = merged.aggregate([("unsure_count", "sum"), ("unsure_sum", "sum")])
    columns = [sums.column(name) for name in ("lang", "cluster", "unsure_count_sum", "unsure_sum_sum")]
    table = pa.Table.from_arrays(columns, names=COUNTS_SCHEMA.names).cast(COUNTS_SCHEMA)
    return table.sort_by([("lang", "ascending"), ("cluster", "ascending")])


def _likelihood(langs: pa.Table, vectors: Scan, teacher: GemTeacher, config: DriftConfig) -> pa.Table:
    sample = sample_rows(vectors, config.sample, seed=SEED, columns=["vector"])
    scores = teacher.score_samples(vectors_of(sample))
    at = pc.index_in(sample.column("doc_id"), value_set=langs.column("doc_id").combine_chunks())
    own = np.array(langs.column("lang").take(at).fill_null(UNDETERMINED).to_pylist())
    rows = [
        {"lang": lang, "documents": int(mine.sum()), "total": float(scores[mine].sum()),
         "squares": float((scores[mine] ** 2).sum())}
        for lang in sorted(set(own.tolist()))
        for mine in [own == lang]
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, LIKELIHOOD_SCHEMA)
