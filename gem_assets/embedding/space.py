"""Fit the text-to-vector map once, on a seeded sample of what has landed.

Writes the embedder's files and ``report.json``. The map is fitted on a bounded sample and then frozen: vectors of
later snapshots stay comparable with the old ones, and a new snapshot costs only its own encoding. Cost: one pass over
the id column of the corpus, one over the sampled texts, then the fit.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from gem_assets.corpus.sampling import sample_documents
from gem_assets.embedding.base import has_direction
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder

REPORT_NAME = "report.json"
PROBE_ROWS = 2_000


class SpaceReport(BaseModel):
    """What was fitted, and how spread the vectors are.

    ``mean_cosine`` is that of two documents of the sample, estimated from the norm of the mean vector: 0 for an
    isotropic space, near 1 for a collapsed one.
    """

    model_config = ConfigDict(frozen=True)

    method: str
    documents: int
    dimension: int
    mean_cosine: float


def fit_space(
    shards: Mapping[str, Sequence[Path]],
    config: EmbeddingConfig,
    out: Path,
    progress: Callable[[int, int], None] | None = None,
) -> SpaceReport:
    """Fit the configured embedder on a sample of ``shards`` and write it into ``out``.

    ``out`` is empty; it receives the embedder and ``report.json``.

    Raises ValueError when there is no document to fit on, or the encoder fails on every one of them.
    """
    sample = sample_documents(shards, config.fit_documents, seed=config.seed, columns=["text"])
    if sample.num_rows == 0:
        raise ValueError("no document to fit the embedding space on: every landed snapshot is empty")
    texts = sample.column("text")
    embedder = fit_embedder(texts, config, progress)
    probe = embedder.transform(texts.slice(0, PROBE_ROWS))
    probe = probe[has_direction(probe)]
    n = len(probe)
    if n == 0:
        raise ValueError(
            "the encoder gives no usable vector for any document of the sample: they are NaN, infinite or zero; "
            "choose another one (embedding.model)"
        )
    # (|Σx|² − n) / (n² − n) is the mean over pairs i ≠ j of x_i·x_j for unit rows
    mean_cosine = float((np.square(probe.sum(axis=0, dtype=np.float64)).sum() - n) / max(n * n - n, 1))
    embedder.save(out)
    report = SpaceReport(
        method=config.method, documents=sample.num_rows, dimension=embedder.dimension, mean_cosine=mean_cosine
    )
    (out / REPORT_NAME).write_text(json.dumps(report.model_dump(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return report
