"""Measure a written order: the four guidelines overall and within each cluster, and shares along the run.

Orders of up to 2 million documents are measured whole; of longer ones evenly spaced stretches of 4096 neighbours, so
that memory stays at some 100 MB. Shares are summed over every row. One pass over four narrow columns.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from gem_assets.ordering.diagnostics import Diagnostics, diagnose, rank_scale
from gem_assets.ordering.external import read_batches
from gem_assets.ordering.report import window_count
from gem_assets.ordering.training_order import order_files
from gem_assets.types import Floats, Ints

_MOST = 2_000_000
_STRETCH = 4096
_COLUMNS = ["position", "score", "cluster", "n_tokens"]


@dataclass(frozen=True)
class OrderReview:
    """What a written order looks like.

    Attributes
    ----------
    rows, sampled
        Rows of the order, and rows that the guidelines were measured on.
    overall
        Guidelines over all documents, whatever their cluster.
    within
        The same inside each cluster's own sequence; the ones to read for an interleaved order.
    clusters
        (K,) cluster ids.
    shares
        (W, K) token share of each cluster in consecutive stretches of the order: hundredths of its documents, fewer
        and longer ones where a hundredth would hold too few documents of each cluster to have shares.
    progress, rank, cluster
        (m,) of each sampled document: place in the run (0 to 1), rank inside its cluster (0 to 1), position of its
        cluster in ``clusters``.
    """

    rows: int
    sampled: int
    overall: Diagnostics
    within: Mapping[int, Diagnostics]
    clusters: Ints
    shares: Floats
    progress: Floats
    rank: Floats
    cluster: Ints

    def within_mean(self) -> dict[str, float]:
        """Guidelines inside clusters, averaged by documents."""
        weight = np.array([d.n for d in self.within.values()], dtype=np.float64)
        rows = [d.as_dict() for d in self.within.values()]
        return {name: float(np.average([row[name] for row in rows], weights=weight)) for name in rows[0] if name != "n"}


def review_order(folder: Path, batch: int = 10, most: int = _MOST) -> OrderReview:
    """Measure the order in a folder that :func:`build_order` wrote.

    Parameters
    ----------
    folder
        Folder with ``part-*.parquet``.
    batch
        Documents that one optimiser step sees together.
    most
        Rows above which stretches are measured instead of the whole.

    Raises
    ------
    FileNotFoundError
        If there is no order in the folder.
    """
    files = order_files(folder)
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    every = 1 if rows <= most else -(-rows // most)
    windows = max(2, window_count(rows, _clusters_in(files)))
    taken: list[tuple[Ints, Floats, Ints]] = []
    sums: dict[int, Floats] = {}
    for path in files:
        for part in read_batches(path, _COLUMNS):
            position, score, cluster, tokens = (part.column(name).to_numpy() for name in _COLUMNS)
            window = position * windows // rows
            for c in np.unique(cluster).tolist():
                mine = cluster == c
                counted = np.bincount(window[mine], weights=tokens[mine], minlength=windows)
                sums[c] = sums.get(c, np.zeros(windows)) + counted
            keep = position // _STRETCH % every == 0
            taken.append((position[keep], score[keep], cluster[keep].astype(np.int64)))
    position = np.concatenate([t[0] for t in taken])
    score = np.concatenate([t[1] for t in taken])
    cluster = np.concatenate([t[2] for t in taken])
    clusters = np.array(sorted(sums), dtype=np.int64)
    shares = np.stack([sums[int(c)] for c in clusters], axis=1)
    rank = np.empty(len(score))
    within: dict[int, Diagnostics] = {}
    for c in clusters.tolist():
        mine = np.flatnonzero(cluster == c)
        if len(mine):
            rank[mine] = rank_scale(score[mine])
            within[c] = diagnose(score[mine], batch, seams=_seams(position[mine]))
    return OrderReview(
        rows=rows,
        sampled=len(score),
        overall=diagnose(score, batch, seams=_seams(position)),
        within=within,
        clusters=clusters,
        shares=shares / np.maximum(shares.sum(axis=1, keepdims=True), 1),
        progress=position / rows,
        rank=rank,
        cluster=np.searchsorted(clusters, cluster),
    )


def _clusters_in(files: Sequence[Path]) -> int:
    """Clusters of an order, from its report."""
    return len(json.loads((files[0].parent / "report.json").read_text(encoding="utf-8"))["clusters"])


def _seams(position: Ints) -> Ints:
    """Indices at which a new stretch begins."""
    block = position // _STRETCH
    return np.flatnonzero(np.diff(block) > 1) + 1
