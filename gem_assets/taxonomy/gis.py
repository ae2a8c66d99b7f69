"""Geometric Influence Score: which documents represent their cluster.

    GIS_k(x_i) = log γ_ik + log f_ik + β · log ρ_k(x_i)                                   (GEM, Eq. 21)

that is confidence of the assignment, centrality under the cluster's von Mises-Fisher component, and local
density ``ρ``, the mean cosine to the M nearest neighbours inside the same hard cluster. At the concentrations
that occur (``κ`` near 1000) the centrality varies by some twenty nats within a cluster and the other two by
tenths, so the literal sum ranks by centrality alone. The default therefore standardises each term per cluster
first.

Cost: one exact inner-product search inside each cluster, ``O(n_k · min(n_k, density_reference) · d)``.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.text.terms import tokenize
from gem_assets.taxonomy.config import TaxonomyConfig

DENSITY_FLOOR = 1e-6
_BLOCK = 2048
_COMPARED_CHARS = 2000


def seed_influence(vectors: NDArray[np.float32], table: pa.Table, config: TaxonomyConfig) -> NDArray[np.float64]:
    """Score every document of a seed table within its cluster, ``(n,)``; see :func:`geometric_influence`."""
    return geometric_influence(
        vectors,
        table.column("label").to_numpy(),
        table.column("log_responsibility").to_numpy(),
        table.column("log_density").to_numpy(),
        config,
    )


def geometric_influence(
    vectors: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    log_responsibility: NDArray[np.floating[Any]],
    log_density: NDArray[np.floating[Any]],
    config: TaxonomyConfig,
    *,
    cluster: int | None = None,
) -> NDArray[np.float64]:
    """Score every document within its own hard cluster.

    Scores ``(n,)`` are comparable within a cluster. With ``gis="zscore"`` a cluster whose documents agree in all three
    terms scores 0 throughout.

    Raises ValueError if shapes differ or a value is NaN or infinite; the message names the row.

    Parameters
    ----------
    vectors
        Unit rows, float32 ``(n, d)``.
    labels
        Hard cluster of each row, ``(n,)``.
    log_responsibility, log_density
        ``log γ`` and ``log f`` of each row under its hard cluster, ``(n,)``, natural logarithms.
    cluster
        Score for this one cluster only; rows of others get ``-inf``, as in the definition.
    """
    n = len(vectors)
    for name, values in (
        ("labels", labels),
        ("log_responsibility", log_responsibility),
        ("log_density", log_density),
    ):
        if values.shape != (n,):
            raise ValueError(f"{name} has shape {values.shape}, expected ({n},) as there are {n} vectors")
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{name} of row {int(np.argmin(np.isfinite(values)))} is not finite")
    finite_rows = np.isfinite(vectors).all(axis=1) if n else np.ones(0, bool)
    if not np.all(finite_rows):
        raise ValueError(f"the vector of row {int(np.argmin(finite_rows))} holds a value that is not finite")
    scores = np.full(n, -np.inf)
    wanted = np.unique(labels) if cluster is None else np.array([cluster])
    for k in wanted:
        rows = np.flatnonzero(labels == k)
        if len(rows) == 0:
            continue
        density = local_density(vectors[rows], config, salt=int(k))
        terms = (
            log_responsibility[rows].astype(np.float64),
            log_density[rows].astype(np.float64),
            np.log(np.maximum(density, DENSITY_FLOOR)),
        )
        confidence, centrality, crowd = terms if config.gis == "literal" else (_standardised(t) for t in terms)
        scores[rows] = confidence + centrality + config.beta * crowd
    return scores


def local_density(vectors: NDArray[np.float32], config: TaxonomyConfig, *, salt: int = 0) -> NDArray[np.float64]:
    """Mean cosine of each row to its M nearest other rows.

    Above ``density_reference`` rows the neighbours are sought in a seeded sample of that size. A row without
    any neighbour has density 1, whose logarithm is neutral.

    Parameters
    ----------
    vectors
        Unit rows of one cluster, float32 ``(n_k, d)``.
    salt
        Makes the sample of each cluster its own.
    """
    n = len(vectors)
    if n == 1:
        return np.ones(1)
    if n > config.density_reference:
        rng = np.random.default_rng([config.seed, salt])
        reference = np.sort(rng.choice(n, config.density_reference, replace=False))
    else:
        reference = np.arange(n)
    wanted = min(config.density_neighbours, len(reference) - 1)
    # the exact numpy search gives the same neighbours, only slower
    search = _search_numpy if find_spec("faiss") is None else _search_faiss
    cosines, found = search(vectors, np.ascontiguousarray(vectors[reference]), wanted + 1)
    itself = reference[found] == np.arange(n)[:, None]
    # a row outside the sample does not find itself: drop its last neighbour, so that all average over M
    itself[~itself.any(axis=1), -1] = True
    others = np.where(itself, 0.0, cosines.astype(np.float64))
    return others.sum(axis=1) / wanted


def select_exemplars(
    scores: NDArray[np.float64],
    labels: NDArray[np.integer[Any]],
    vectors: NDArray[np.float32],
    per_cluster: int,
    duplicate_cosine: float,
    texts: Sequence[str] | None = None,
    duplicate_words: float = 1.0,
) -> dict[int, list[int]]:
    """Pick the best documents of each cluster, no two of them near-duplicates.

    Goes down the scores and skips a document whose cosine to one already taken exceeds ``duplicate_cosine`` or, where
    texts are given, whose words are the same as that one's in a share above ``duplicate_words`` (Jaccard similarity of
    content words in the first 2,000 characters): pages from one template differ in a rare word, which can turn their
    vectors far apart. Ties go to the earlier row. A cluster of near-duplicates gives fewer documents than asked.

    Returns row numbers per cluster, best first.
    """
    chosen: dict[int, list[int]] = {}
    for k in np.unique(labels):
        rows = np.flatnonzero((labels == k) & np.isfinite(scores))
        ranked = rows[np.argsort(-scores[rows], kind="stable")]
        taken: list[int] = []
        said: list[frozenset[str]] = []
        for row in ranked:
            if len(taken) == per_cluster:
                break
            if taken and float(np.max(vectors[taken] @ vectors[row])) > duplicate_cosine:
                continue
            words = _content_words(texts[int(row)]) if texts is not None else frozenset[str]()
            if any(len(words & other) > duplicate_words * max(1, len(words | other)) for other in said):
                continue
            taken.append(int(row))
            said.append(words)
        chosen[int(k)] = taken
    return chosen


def _content_words(text: str) -> frozenset[str]:
    return frozenset(t for t in tokenize(text[:_COMPARED_CHARS]) if t is not None)


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    # a spread at rounding level is not information; dividing by it would rank by noise
    if spread <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return np.zeros_like(values)
    return centred / spread


def _search_faiss(
    queries: NDArray[np.float32], reference: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    import faiss

    index = faiss.IndexFlatIP(reference.shape[1])
    index.add(reference)
    return index.search(np.ascontiguousarray(queries), count)


def _search_numpy(
    queries: NDArray[np.float32], reference: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    cosines = np.empty((len(queries), count), np.float32)
    found = np.empty((len(queries), count), np.int64)
    for start in range(0, len(queries), _BLOCK):
        products = queries[start : start + _BLOCK] @ reference.T
        best = np.argpartition(-products, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(products, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        found[start : start + _BLOCK] = np.take_along_axis(best, order, axis=1)
        cosines[start : start + _BLOCK] = np.take_along_axis(values, order, axis=1)
    return cosines, found
