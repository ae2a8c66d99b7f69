"""Measure a clustering: balance, coherence, agreement with labels, stability, and the anisotropy of the vectors.

Balance comes from hard labels, since documents are mixed by hard labels. Coherence is weighted by size, so that it
cannot be raised by throwing documents into one loose cluster. What needs the texts is in
:mod:`gem_assets.teacher.topics`, what needs further fits in :mod:`gem_assets.teacher.stability`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from gem_assets.report.tables import effective_number


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
    return effective_number(counts / total)


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


def pairwise_cosine(x: NDArray[np.floating], labels: NDArray[np.integer], k: int) -> float:
    """Mean cosine of two different documents of one cluster, averaged over clusters by size.

    Unlike :func:`cosine_coherence` it does not rise by itself as clusters get smaller. From the sums of the clusters,
    so the cost is one pass; clusters of one document have no pair and are left out.

    Raises
    ------
    ValueError
        If no cluster holds two documents.
    """
    sums = np.zeros((k, x.shape[1]))
    np.add.at(sums, labels, x)
    sizes = np.bincount(labels, minlength=k).astype(np.float64)
    squares = np.bincount(labels, np.einsum("ij,ij->i", x, x, dtype=np.float64), minlength=k)
    pairs = sizes * (sizes - 1)
    several = sizes > 1
    if not several.any():
        raise ValueError("no cluster holds two documents, so there is no pair to compare")
    means = (np.sum(sums**2, axis=1) - squares)[several] / pairs[several]
    return float(means @ sizes[several] / sizes[several].sum())


@dataclass(frozen=True)
class Anisotropy:
    """How unevenly rows fill the sphere.

    Attributes
    ----------
    mean_cosine
        Mean cosine of two different rows: 0 when directions are spread evenly, near 1 in a narrow cone.
    top_share
        Share of the squared length that lies on the leading axis; 1/d when even.
    effective_axes
        exp of the entropy of the eigenvalue shares of the second moments: d when even, 1 when all rows are on a line.
    """

    mean_cosine: float
    top_share: float
    effective_axes: float


def spectrum(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Shares of the squared length of rows (n, d) on the axes of their second moments, largest first, shape (d,)."""
    rows = np.asarray(x, dtype=np.float64)
    eigenvalues = np.maximum(np.linalg.eigvalsh(rows.T @ rows), 0.0)[::-1]
    return eigenvalues / eigenvalues.sum()


def anisotropy(x: NDArray[np.floating]) -> Anisotropy:
    """Anisotropy of rows (n, d), at least two; the cost is one product of n d^2 and one spectrum of d x d."""
    shares = spectrum(x)
    return Anisotropy(
        mean_cosine=pairwise_cosine(np.asarray(x, dtype=np.float64), np.zeros(len(x), np.int64), 1),
        top_share=float(shares[0]),
        effective_axes=effective_clusters(shares),
    )


def residuals(x: NDArray[np.floating], labels: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Rows less their component along the mean direction of their cluster, at length 1 again; shape (<= n, d).

    What the clusters leave unexplained: :func:`anisotropy` of it is the "after" to that of the rows. Rows that lie on
    their cluster's direction have no residual and are left out.
    """
    mean = np.zeros((k, x.shape[1]))
    np.add.at(mean, labels, x)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    mean /= np.where(length > 0, length, 1.0)
    rest = np.asarray(x, dtype=np.float64)
    own = mean[labels]
    rest = rest - np.einsum("ij,ij->i", rest, own)[:, None] * own
    norm = np.linalg.norm(rest, axis=1)
    return rest[norm > 1e-6] / norm[norm > 1e-6, None]


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
