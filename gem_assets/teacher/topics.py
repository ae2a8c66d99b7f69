"""Coherence of clusters as topics: do the words that distinguish a cluster occur together in the corpus?

    NPMI(a, b) = log( p(a, b) / (p(a) p(b)) ) / -log p(a, b)      (Bouma 2009; Aletras & Stevenson 2013)

with probabilities of occurring in a document of the whole corpus; -1 for words that never meet, 0 for independent
ones, 1 for words that only occur together. A cluster's score is the mean over all pairs of its ten best words by class
TF-IDF (the weight of :mod:`gem_assets.taxonomy.keywords`), a clustering's the mean over clusters by size.

Cost: the words of all texts are read once, some MB/s per core; a labelling then costs a sparse product.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from gem_assets.corpus.text.terms import tokenize

TOP_WORDS = 10


@dataclass(frozen=True)
class WordPresence:
    """Which word occurs in which document.

    Attributes
    ----------
    matrix
        Ones where document i holds word j, sparse (n, V), float32.
    words
        The V words, sorted.
    """

    matrix: csc_array
    words: tuple[str, ...]

    @property
    def documents(self) -> int:
        """Number of documents, n."""
        return int(self.matrix.shape[0])  # pyright: ignore[reportOptionalSubscript]


def word_presence(
    texts: Iterable[str], *, min_documents: int = 5, max_share: float = 0.5, max_chars: int = 2000
) -> WordPresence:
    """Read the distinct words of every text.

    Parameters
    ----------
    texts
        One text per document.
    min_documents, max_share
        Words in fewer documents than this, or in a larger share of them, are left out.
    max_chars
        Characters read from the start of a text.
    """
    place: dict[str, int] = {}
    columns: list[NDArray[np.int32]] = []
    for text in texts:
        found = {word for word in tokenize(text[:max_chars]) if word is not None}
        columns.append(np.fromiter((place.setdefault(word, len(place)) for word in found), np.int32, len(found)))
    n = len(columns)
    indptr = np.concatenate([[0], np.cumsum([len(c) for c in columns])]).astype(np.int64)
    indices = np.concatenate([*columns, np.zeros(0, np.int32)])
    frequency = np.bincount(indices, minlength=len(place))
    names = np.array(list(place), dtype=object)
    kept = np.flatnonzero((frequency >= min_documents) & (frequency <= max_share * n))
    kept = kept[np.argsort(names[kept], kind="stable")] if kept.size else kept
    whole = csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(n, len(place)))
    return WordPresence(csc_array(whole[:, kept]), tuple(str(word) for word in names[kept]))


def topic_words(
    presence: WordPresence, labels: NDArray[np.integer], k: int, count: int = TOP_WORDS
) -> list[NDArray[np.int64]]:
    """Columns of the words with the largest class TF-IDF weight, best first, for each cluster 0..K-1."""
    sizes = np.bincount(labels, minlength=k)
    members = csr_array((np.ones(len(labels), np.float32), (labels, np.arange(len(labels)))), shape=(k, len(labels)))
    share = csr_array(members @ presence.matrix).toarray() / np.maximum(sizes, 1)[:, None]
    weight = np.sqrt(share) * np.log1p(1.0 / np.maximum(share.mean(axis=0), 1e-12))
    best = np.argsort(-weight, axis=1, kind="stable")[:, :count]
    return [row[weight[cluster, row] > 0] for cluster, row in enumerate(best)]


def cluster_npmi(
    presence: WordPresence, labels: NDArray[np.integer], k: int, count: int = TOP_WORDS
) -> NDArray[np.float64]:
    """Mean NPMI of each cluster's best words, shape (K,); NaN for a cluster with fewer than two words."""
    words = topic_words(presence, labels, k, count)
    used = np.unique(np.concatenate([*words, np.zeros(0, np.int64)]))
    chosen = csc_array(presence.matrix[:, used])
    joint = csr_array(chosen.T @ chosen).toarray().astype(np.float64) / presence.documents
    single = np.diag(joint)
    with np.errstate(divide="ignore", invalid="ignore"):
        npmi = np.log(joint / np.outer(single, single)) / -np.log(joint)
    npmi[joint == 0] = -1.0
    # two words that every document holds say nothing about each other
    npmi[joint >= 1] = 0.0
    scores = np.full(k, np.nan)
    for cluster, mine in enumerate(words):
        if len(mine) > 1:
            at = np.searchsorted(used, mine)
            scores[cluster] = npmi[np.ix_(at, at)][np.triu_indices(len(at), 1)].mean()
    return scores


def topic_npmi(presence: WordPresence, labels: NDArray[np.integer], k: int, count: int = TOP_WORDS) -> float:
    """Mean of :func:`cluster_npmi` over the documents; clusters without two words are left out.

    Raises
    ------
    ValueError
        If there are not as many labels as documents, or no cluster has two words.
    """
    if len(labels) != presence.documents:
        raise ValueError(f"{len(labels)} labels for {presence.documents} documents")
    scores = cluster_npmi(presence, labels, k, count)
    sizes = np.bincount(labels, minlength=k).astype(np.float64)
    known = np.isfinite(scores)
    if not known.any():
        raise ValueError("no cluster has two words that occur often enough: lower min_documents")
    return float(scores[known] @ sizes[known] / sizes[known].sum())
