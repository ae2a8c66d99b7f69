"""Drift statistics of one snapshot as sums that can be added: label counts, unsure labels, likelihoods by language.

Labels are counted over all documents; the log-likelihood under the teacher (``GemTeacher.score_samples``, nats) is
taken of a bottom-k sample of the vectors. Unsure labels are counted among documents that the student was not trained
on, and likelihoods kept apart for those that the teacher was not fitted on: a student is surer of what it has seen than
of any crawl to come, and a space spreads what it was fitted on more widely (``benchmarks.drift``). Cost: one pass over
four narrow columns of the labels and one over the sampled vectors; memory is one batch and the sample.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.corpus.sampling import Scan, sample_rows
from gem_assets.drift.config import DriftConfig
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.seed_fit import vectors_of

COUNTS_NAME, LIKELIHOOD_NAME = "labels.parquet", "likelihood.parquet"
SUMS = ("documents", "unseen", "unsure")
COUNTS_SCHEMA = pa.schema([("lang", pa.string()), ("cluster", pa.int16()), *[(name, pa.int64()) for name in SUMS]])
LIKELIHOOD_SCHEMA = pa.schema(
    [
        ("lang", pa.string()),
        ("unseen", pa.bool_()),
        ("documents", pa.int64()),
        ("total", pa.float64()),
        ("squares", pa.float64()),
    ]
)
_NOTHING = pa.schema([("doc_id", pa.string())]).empty_table()
# not that of the fits, whose samples are the lowest ranks too
SEED = 0xD41F7
UNDETERMINED = "und"


@dataclass(frozen=True)
class Seen:
    """Ids of the documents that the teacher, and the student, were fitted on."""

    by_teacher: pa.Array
    by_student: pa.Array


def publish_statistics(
    labels: Iterable[pa.RecordBatch],
    vectors: Scan,
    teacher: GemTeacher,
    seen: Seen,
    config: DriftConfig,
    out: Path,
) -> dict[str, int]:
    """Measure one snapshot and write its sums into ``out``.

    ``labels`` are batches with ``doc_id``, ``lang``, ``cluster`` and ``margin``.
    """
    # no rows at all where other snapshots have every text already
    filled = any(batch.num_rows for batch in vectors(["doc_id"]))
    sample = sample_rows(vectors, config.sample, seed=SEED, columns=["vector"]) if filled else _NOTHING
    sampled = sample.column("doc_id").combine_chunks()
    langs = np.full(len(sample), UNDETERMINED, object)
    counts = COUNTS_SCHEMA.empty_table()
    for batch in labels:
        lang = pc.fill_null(batch.column("lang").cast(pa.string()), UNDETERMINED)
        at = pc.index_in(batch.column("doc_id"), value_set=sampled)
        here = at.is_valid()
        langs[at.filter(here).to_numpy()] = lang.filter(here).to_numpy(zero_copy_only=False)
        counts = _summed(pa.concat_tables([counts, _counted(batch, lang, seen.by_student, config)]))
    scores = teacher.score_samples(vectors_of(sample)) if len(sample) else np.empty(0)
    unseen = ~pc.is_in(sampled, value_set=seen.by_teacher).to_numpy(zero_copy_only=False)
    likelihood = [
        {"lang": lang, "unseen": apart, "documents": int(mine.sum()), "total": float(scores[mine].sum()),
         "squares": float((scores[mine] ** 2).sum())}
        for lang in sorted(set(langs.tolist()))
        for apart in (False, True)
        for mine in [(langs == lang) & (unseen == apart)]
        if mine.any()
    ]  # fmt: skip
    pq.write_table(counts, out / COUNTS_NAME, compression="zstd")
    pq.write_table(pa.Table.from_pylist(likelihood, LIKELIHOOD_SCHEMA), out / LIKELIHOOD_NAME, compression="zstd")
    return {**{name: int(pc.sum(counts.column(name)).as_py() or 0) for name in SUMS}, "scored": len(sample)}


def _counted(batch: pa.RecordBatch, lang: pa.Array, seen: pa.Array, config: DriftConfig) -> pa.Table:
    unseen = pc.invert(pc.is_in(batch.column("doc_id"), value_set=seen))
    unsure = pc.and_(unseen, pc.less(batch.column("margin"), config.margin))
    ones = pa.repeat(pa.scalar(1, pa.int64()), batch.num_rows)
    columns = [lang, batch.column("cluster").cast(pa.int16()), ones, unseen.cast(pa.int64()), unsure.cast(pa.int64())]
    return pa.Table.from_arrays(columns, schema=COUNTS_SCHEMA)


def _summed(table: pa.Table) -> pa.Table:
    sums = table.group_by(["lang", "cluster"], use_threads=False).aggregate([(name, "sum") for name in SUMS])
    columns = [sums.column(name) for name in ("lang", "cluster", *(f"{name}_sum" for name in SUMS))]
    summed = pa.Table.from_arrays(columns, schema=COUNTS_SCHEMA)
    return summed.sort_by([("lang", "ascending"), ("cluster", "ascending")])
