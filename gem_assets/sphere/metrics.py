"""How good a clustering is: balance, coherence, agreement with labels, stability.

Balance comes from hard labels, since documents are mixed by hard labels. Coherence is weighted by size, so that it
cannot be raised by throwing documents into one loose cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix


@dataclass(frozen=True)
class Balance:
    """Sizes of hard clusters: effective number (exp of the entropy), extreme shares times K, Gini, empty ones."""

    n_eff: float
    n_eff_over_k: float
    max_share_k: float
    min_share_k: float
    max_over_min: float
    gini: float
    empty: int


def effective_clusters(counts: ArrayLike) -> float:
    """``exp(entropy)`` of the shares: K for equal sizes, 1 when one cluster holds everything."""
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum()
    if total <= 0:
        raise ValueError("no documents to count")
    shares = counts[counts > 0] / total
    return float(np.exp(-np.sum(shares * np.log(shares))))


def gini(counts: ArrayLike) -> float:
    """Gini coefficient of the sizes, 0 for equal ones."""
    ordered = np.sort(np.asarray(counts, dtype=np.float64))
    k = ordered.size
    return float(2 * np.sum(np.arange(1, k + 1) * ordered) / (k * ordered.sum()) - (k + 1) / k)


def balance(labels: NDArray[np.integer], k: int) -> Balance:
    """Balance of hard labels 0..K-1; ``max_over_min`` is infinite when a cluster is empty."""
    counts = np.bincount(labels, minlength=k)
    n_eff = effective_clusters(counts)
    smallest, largest = int(counts.min()), int(counts.max())
    return Balance(
        n_eff=n_eff,
        n_eff_over_k=n_eff / k,
        max_share_k=largest * k / len(labels),
        min_share_k=smallest * k / len(labels),
        max_over_min=largest / smallest if smallest else float("inf"),
        gini=gini(counts),
        empty=int(np.sum(counts == 0)),
    )


def cosine_coherence(x: NDArray[np.floating], labels: NDArray[np.integer], k: int) -> float:
    """Mean cosine of the documents to the mean direction of their cluster, over documents."""
    sums = np.zeros((k, x.shape[1]))
    np.add.at(sums, labels, x)
    return float(np.linalg.norm(sums, axis=1).sum() / x.shape[0])


@dataclass(frozen=True)
class Agreement:
    """Agreement with a reference labelling, all in 0..1 (ARI can fall below 0)."""

    nmi: float
    ari: float
    purity: float


def agreement(labels: NDArray[np.integer], reference: Sequence[object] | NDArray[np.generic]) -> Agreement:
    """NMI (arithmetic mean), adjusted Rand index and purity against ``reference``."""
    truth = np.unique(np.asarray(reference), return_inverse=True)[1]
    table = contingency_matrix(truth, labels)
    return Agreement(
        nmi=float(normalized_mutual_info_score(truth, labels)),
        ari=float(adjusted_rand_score(truth, labels)),
        purity=float(table.max(axis=0).sum() / len(labels)),
    )


def stability(labelings: Sequence[NDArray[np.integer]]) -> float:
    """Mean adjusted Rand index over all pairs of labelings of the same documents."""
    pairs = [(a, b) for i, a in enumerate(labelings) for b in labelings[i + 1 :]]
    if not pairs:
        raise ValueError("stability needs at least two labelings")
    return float(np.mean([adjusted_rand_score(a, b) for a, b in pairs]))
