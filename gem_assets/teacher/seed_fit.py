"""Fit the teacher on the seed sample and write everything that later stages need from it.

Writes, beside the teacher's own files: ``sample.parquet`` (doc_id, snapshot, label, log_responsibility, log_density of
every seed document), ``vectors.npy`` (their unit vectors, same order), ``report.json`` and two pictures: the objective
per iteration, and cluster shares beside those of spherical k-means on the same vectors, which is what balance changed.
``domains.json`` holds the stable id of each cluster; after a refit, ``crosswalk.json`` and ``crosswalk.parquet`` say
how old and new clusters relate. Cost: the fit plus 25 iterations of k-means.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from gem_assets.report.plots import cluster_shares, objective_curve
from gem_assets.storage.identity import finite
from gem_assets.teacher.ascent import Progress
from gem_assets.teacher.baselines import spherical_kmeans_labels
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.refit import Domains, PreviousTeacher, passed_on
from gem_assets.teacher.teach import TeacherReport, fit_teacher, report

SAMPLE_NAME = "sample.parquet"
VECTORS_NAME = "vectors.npy"
REPORT_NAME = "report.json"
MODEL_FOLDER = "teacher"
BLOCK_ROWS = 8_192


def fit_on_sample(
    sample: pa.Table,
    config: TeacherConfig,
    out: Path,
    previous: PreviousTeacher | None = None,
    progress: Progress | None = None,
) -> TeacherReport:
    """Fit, certify and write the teacher.

    Parameters
    ----------
    sample
        Columns ``doc_id``, ``snapshot`` and ``vector`` (fixed-size list of float32, unit length).
    config
        Number of clusters, balance, seed.
    out
        Empty directory that receives the artifact.
    previous
        Teacher to refit from; cluster ids then carry over, whether the fit can start from it or not.
    progress
        Receives every iteration as it ends.

    Raises
    ------
    ValueError
        When the sample holds fewer distinct documents than clusters, or a vector is not finite or not unit (named).
    """
    vectors = vectors_of(sample)
    ids = sample.column("doc_id").to_pylist()
    start = None if previous is None else previous.anchor(config, vectors.shape[1])
    teacher = fit_teacher(vectors, config, ids=ids, previous=start, progress=progress)
    found = report(teacher)
    domains = Domains.first(config.k)
    if previous is not None:
        teacher, walk = previous.continued(teacher, vectors, sample.column("doc_id"))
        walk.write(out)
        domains = passed_on(previous, walk)
    domains.write(out)
    labels = teacher.labels_
    table = pa.table(
        {
            "doc_id": sample.column("doc_id"),
            "snapshot": sample.column("snapshot"),
            "label": pa.array(labels, pa.int16()),
            "log_responsibility": pa.array(_log_responsibility(teacher, vectors, labels), pa.float64()),
            "log_density": pa.array(teacher.log_density(vectors, labels), pa.float64()),
        }
    )
    pq.write_table(table, out / SAMPLE_NAME, compression="zstd")
    np.save(out / VECTORS_NAME, vectors, allow_pickle=False)
    (out / MODEL_FOLDER).mkdir()
    teacher.save(out / MODEL_FOLDER)
    (out / REPORT_NAME).write_text(json.dumps(finite(asdict(found)), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    unbalanced = spherical_kmeans_labels(vectors, config.k, seed=config.seed)
    (out / "shares.png").write_bytes(cluster_shares(_shares(unbalanced, config.k), _shares(labels, config.k)))
    (out / "objective.png").write_bytes(objective_curve(teacher.trace_))
    return found


def load_previous(artifact: Path, *, same_space: bool) -> PreviousTeacher:
    """Read the teacher that a refit continues from its artifact."""
    return PreviousTeacher.load(artifact, MODEL_FOLDER, SAMPLE_NAME, same_space=same_space)


def load_seed(artifact: Path) -> tuple[GemTeacher, pa.Table, NDArray[np.float32]]:
    """Read back the teacher, the table of its seed documents and their vectors, in the same order."""
    teacher = GemTeacher.load(artifact / MODEL_FOLDER)
    table = pq.read_table(artifact / SAMPLE_NAME)
    return teacher, table, np.load(artifact / VECTORS_NAME, allow_pickle=False)


def seed_responsibilities(teacher: GemTeacher, vectors: NDArray[np.float32], drop: float = 1e-6) -> csr_array:
    """Responsibilities of the seed documents as a sparse (n, K) array; entries below ``drop`` are left out."""
    blocks: list[csr_array] = []
    for start in range(0, len(vectors), BLOCK_ROWS):
        dense = teacher.predict_proba(vectors[start : start + BLOCK_ROWS])
        dense[dense < drop] = 0.0
        blocks.append(csr_array(dense.astype(np.float32)))
    return csr_array(vstack(blocks))


def _log_responsibility(
    teacher: GemTeacher, vectors: NDArray[np.float32], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    parts: list[NDArray[np.float64]] = []
    for start in range(0, len(vectors), BLOCK_ROWS):
        scores = teacher.log_joint(vectors[start : start + BLOCK_ROWS])
        own = scores[np.arange(len(scores)), labels[start : start + BLOCK_ROWS]]
        parts.append(own - np.logaddexp.reduce(scores, axis=1))
    return np.concatenate(parts)


def vectors_of(table: pa.Table) -> NDArray[np.float32]:
    """Return the ``vector`` column as a float32 array of shape (n, d)."""
    column = table.column("vector").combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat, dtype=np.float32).reshape(len(column), -1)


def _shares(labels: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    return np.bincount(labels, minlength=k) / len(labels)
