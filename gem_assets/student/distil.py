"""Distil the teacher into the student, and measure the agreement on held-out documents.

Writes the student's files, ``report.json``, ``groups.parquet`` (agreement by source, language, both, length and
cluster), ``confusion.parquet``, ``reliability.parquet``, ``margins.parquet`` and two pictures: the agreement matrix and
the reliability of confidences and margins. Documents are held out per cluster by the hash of their id. Training
documents are the rest; with ``gis_share`` a part of them is chosen by Geometric Influence Score instead, the same
number from every cluster, as in the published recipe. Cost: seconds per ten thousand documents on one core.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.sparse import csr_array

from gem_assets.report.plots import agreement_matrix, reliability
from gem_assets.student.config import StudentConfig
from gem_assets.student.escalation import escalation_table
from gem_assets.student.labeller import StudentLabeller
from gem_assets.student.report import agreement_report, held_out_mask

REPORT_NAME = "report.json"
MODEL_FOLDER = "student"
CONFIDENT_MARGIN = 0.2
MOST_GROUPS = 50
SOURCE_AND_LANG = "source and language"


class StudentReport(BaseModel):
    """Held-out agreement of the student with its teacher.

    Attributes
    ----------
    summary
        Agreement overall and on confident documents, drift of cluster shares (total variation), calibration error.
    by_source, by_lang, by_source_and_lang, by_length
        One row per group, the 50 largest: documents, agreement, share below the margin. All are in ``groups.parquet``.
    escalation
        For a few margins, the share of documents below it and the agreement once the teacher has labelled those.
    gis_agreement
        Agreement on held-out documents whose Geometric Influence Score is in the upper half of their cluster.
    """

    model_config = ConfigDict(frozen=True)

    trained_on: int
    summary: dict[str, float]
    gis_agreement: float
    by_source: list[dict[str, Any]]
    by_lang: list[dict[str, Any]]
    by_source_and_lang: list[dict[str, Any]]
    by_length: list[dict[str, Any]]
    escalation: list[dict[str, Any]]


def distil(
    sample: pa.Table,
    responsibilities: csr_array,
    influence: NDArray[np.float64],
    config: StudentConfig,
    out: Path,
    progress: Callable[[str], None] | None = None,
) -> StudentReport:
    """Train, calibrate, report and write the student.

    Parameters
    ----------
    sample
        Seed documents: ``doc_id``, ``text``, ``source``, ``lang``, ``n_bytes``, ``label`` (the teacher's).
    responsibilities
        The teacher's, shape (n, K).
    influence
        Geometric Influence Score of each document within its cluster, shape (n,).
    config
        Student settings.
    out
        Empty directory that receives the artifact.

    Raises
    ------
    ValueError
        When there are too few documents to train, calibrate and hold out.
    """
    labels = _labels(sample)
    n_clusters = int(responsibilities.shape[1])  # pyright: ignore[reportOptionalSubscript]
    held_out = _held_out(sample, config)
    train = choose_training(labels, influence, ~held_out, config)
    student = StudentLabeller.fit(
        sample.column("text").take(pa.array(train)),
        labels[train],
        responsibilities[train],
        config,
        n_clusters=n_clusters,
        progress=progress,
    )
    unseen = sample.filter(pa.array(held_out))
    predicted = student.predict(unseen.column("text"))
    found = agreement_report(
        labels[held_out],
        predicted,
        n_clusters,
        n_bytes=unseen.column("n_bytes").to_numpy(),
        groups={**{name: unseen.column(name) for name in ("source", "lang")}, SOURCE_AND_LANG: _both(unseen)},
        runner_up=student.runner_up(unseen.column("text")),
        margin_threshold=CONFIDENT_MARGIN,
    )
    (out / MODEL_FOLDER).mkdir()
    student.save(out / MODEL_FOLDER)
    pq.write_table(found.groups, out / "groups.parquet", compression="zstd")
    pq.write_table(found.confusion_table(), out / "confusion.parquet", compression="zstd")
    pq.write_table(found.reliability, out / "reliability.parquet", compression="zstd")
    pq.write_table(found.margins, out / "margins.parquet", compression="zstd")
    (out / "agreement.png").write_bytes(agreement_matrix(found.confusion))
    (out / "reliability.png").write_bytes(reliability(found.reliability, found.margins))
    report = StudentReport(
        trained_on=len(train),
        summary=found.summary(),
        gis_agreement=_upper_half_agreement(labels, influence, held_out, predicted.cluster),
        by_source=_group_rows(found.groups, "source"),
        by_lang=_group_rows(found.groups, "lang"),
        by_source_and_lang=_group_rows(found.groups, SOURCE_AND_LANG),
        by_length=_group_rows(found.groups, "length"),
        escalation=escalation_table(predicted, labels[held_out]).to_pylist(),
    )
    (out / REPORT_NAME).write_text(json.dumps(report.model_dump(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return report


def training_ids(sample: pa.Table, config: StudentConfig) -> pa.Array:
    """Return the ids of the seed documents that a student of these settings may have been trained on."""
    return sample.column("doc_id").combine_chunks().filter(pa.array(~_held_out(sample, config)))


def _held_out(sample: pa.Table, config: StudentConfig) -> NDArray[np.bool_]:
    return held_out_mask(sample.column("doc_id"), config.held_out_share, config.seed, strata=_labels(sample))


def _labels(sample: pa.Table) -> NDArray[np.int64]:
    return sample.column("label").to_numpy().astype(np.int64)


def choose_training(
    labels: NDArray[np.int64], influence: NDArray[np.float64], allowed: NDArray[np.bool_], config: StudentConfig
) -> NDArray[np.int64]:
    """Choose the training rows, ascending.

    With ``gis_share`` 0 that is every allowed row. Otherwise every cluster gives ``gis_share`` of an equal quota from
    the top of its influence scores, and ``1 - gis_share`` of it at random.
    """
    rows = np.flatnonzero(allowed)
    if config.gis_share == 0:
        return rows
    rng = np.random.default_rng(config.seed)
    clusters = np.unique(labels[rows])
    quota = max(1, len(rows) // len(clusters))
    chosen: list[NDArray[np.int64]] = []
    for cluster in clusters:
        members = rows[labels[rows] == cluster]
        ranked = members[np.argsort(-influence[members], kind="stable")]
        top = ranked[: round(config.gis_share * min(quota, len(members)))]
        rest = np.setdiff1d(members, top)
        extra = rng.permutation(rest)[: max(0, min(quota, len(members)) - len(top))]
        chosen += [top, extra]
    return np.sort(np.concatenate(chosen))


def _upper_half_agreement(
    labels: NDArray[np.int64],
    influence: NDArray[np.float64],
    held_out: NDArray[np.bool_],
    predicted: NDArray[np.int16],
) -> float:
    truth, score = labels[held_out], influence[held_out]
    median = {int(k): np.median(score[truth == k]) for k in np.unique(truth)}
    upper = score >= np.array([median[int(k)] for k in truth])
    return float((predicted[upper] == truth[upper]).mean())


def _both(documents: pa.Table) -> list[str]:
    pairs = zip(documents.column("source").to_pylist(), documents.column("lang").to_pylist(), strict=True)
    return [f"{source or 'unknown'} · {lang or 'und'}" for source, lang in pairs]


def _group_rows(groups: pa.Table, by: str) -> list[dict[str, Any]]:
    rows = [row for row in groups.to_pylist() if row["by"] == by]
    return sorted(rows, key=lambda row: (-row["n_documents"], row["group"]))[:MOST_GROUPS]
