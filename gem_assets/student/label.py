"""Label every document of a snapshot with the student, shard by shard.

One task reads one parquet shard in batches and writes one Arrow file of label rows (see ``LABEL_SCHEMA``); what later
stages sum, order by or account for (tokens, bytes, language, digests, quality signals) travels with the label, so they
never touch the texts again. Memory is one batch.

With an :class:`Escalation` the documents that the student is unsure of are embedded and labelled by the teacher it was
distilled from. They carry ``escalated``, the teacher's cluster and a confidence of 1; ``margin`` stays the student's,
so that it tells how hard a document was whether or not it was escalated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.corpus.schema import QUALITY_COLUMNS
from gem_assets.embedding.base import Embedder
from gem_assets.embedding.embedder import load_embedder
from gem_assets.parallel.shard_map import ShardMap, serial_map
from gem_assets.storage.scratch import read_scratch
from gem_assets.student.config import LabelConfig
from gem_assets.student.escalation import escalate
from gem_assets.student.labeller import StudentLabeller
from gem_assets.student.schema import CARRIED, LABEL_SCHEMA
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.seed_fit import MODEL_FOLDER as TEACHER_FOLDER

BATCH_ROWS = 8_192


@dataclass(frozen=True)
class Escalation:
    """Where unsure documents go: the space and the teacher that the student was distilled from, and how many."""

    space: Path
    teacher: Path
    config: LabelConfig


@lru_cache(maxsize=1)
def _cached_teacher(space: str, teacher: str) -> tuple[Embedder, GemTeacher]:
    return load_embedder(Path(space)), GemTeacher.load(Path(teacher) / TEACHER_FOLDER)


@lru_cache(maxsize=1)
def _cached_student(model: str) -> StudentLabeller:
    return StudentLabeller.load(Path(model))


def label_shard(shard: Path, *, model: Path, out: Path, escalation: Escalation | None = None) -> Path:
    """Label one parquet shard; returns the Arrow file written into ``out``."""
    student = _cached_student(str(model))
    target = out / f"{shard.stem}.arrow"
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, LABEL_SCHEMA) as writer:
        for batch in pq.ParquetFile(shard, pre_buffer=False).iter_batches(
            BATCH_ROWS, columns=[*CARRIED, *QUALITY_COLUMNS, "text"]
        ):
            found = student.predict(batch.column("text"))
            margin, escalated = found.margin, np.zeros(len(found), np.bool_)
            if escalation is not None:
                embedder, teacher = _cached_teacher(str(escalation.space), str(escalation.teacher))
                asked = escalate(
                    batch.column("text"),
                    found,
                    embedder,
                    teacher.predict,
                    margin=escalation.config.escalate_margin,
                    at_most=escalation.config.escalate_at_most,
                )
                found, escalated = asked.prediction, asked.escalated
            values = {
                **{name: batch.column(name) for name in [*CARRIED, *QUALITY_COLUMNS]},
                "cluster": pa.array(found.cluster, pa.int16()),
                "confidence": pa.array(found.confidence, pa.float32()),
                "margin": pa.array(margin, pa.float32()),
                "escalated": pa.array(escalated, pa.bool_()),
            }
            columns = [values[field.name].cast(field.type) for field in LABEL_SCHEMA]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=LABEL_SCHEMA))
    return target


def files_of(target: Path) -> list[Path]:
    """Return the files of a shard of which :func:`label_shard` returned one."""
    return [target]


def label_shards(
    shards: Sequence[Path],
    model: Path,
    out: Path,
    map_shards: ShardMap = serial_map,
    escalation: Escalation | None = None,
) -> list[Path]:
    """Label every shard; the files come back in the order of ``shards``."""
    task = partial(label_shard, model=model, out=out, escalation=escalation)
    return list(map_shards(task, shards, "labelling shards"))


def summarise(files: Sequence[Path], low_margin: float = 0.2) -> dict[str, float]:
    """Mean confidence, shares of documents below the margin and escalated, clusters seen, over scratch label files."""
    documents, confidence, low, escalated = 0, 0.0, 0, 0
    clusters: set[int] = set()
    for batch in read_scratch(files, LABEL_SCHEMA):
        documents += batch.num_rows
        confidence += float(batch.column("confidence").to_numpy().sum(dtype="float64"))
        low += int((batch.column("margin").to_numpy() < low_margin).sum())
        escalated += int(batch.column("escalated").to_numpy(zero_copy_only=False).sum())
        clusters.update(batch.column("cluster").unique().to_pylist())
    return {
        "mean_confidence": confidence / max(documents, 1),
        "low_margin_share": low / max(documents, 1),
        "escalated_share": escalated / max(documents, 1),
        "clusters_seen": len(clusters),
    }
