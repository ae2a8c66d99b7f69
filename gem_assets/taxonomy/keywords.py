"""Keywords of each cluster by class TF-IDF.

A cluster is one document whose term frequency is the share of its texts that hold the term, so a long text has no more
say than a short one:

    w(t, k) = sqrt(tf(t, k)) · log(1 + 1 / mean_k tf(t, k))

that is class TF-IDF (Grootendorst 2022) on shares, with the square root that keeps words of every text of a cluster
from crowding out those that set it apart.

Terms are words and pairs of neighbouring words. A word that a tenth of the texts hold in more than half of
the clusters is a function word of this corpus, whatever its language, and is left out; averaging over
clusters, not over texts, keeps a word of one large cluster from being taken for one.

Cost: one pass over at most ``keyword_documents · keyword_chars`` characters per cluster, some MB/s per core.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.terms import is_unspaced, tokenize
from gem_assets.taxonomy.config import TaxonomyConfig

COMMON_SHARE = 0.10
COMMON_CLUSTERS = 0.5
_MIN_DOCUMENTS = 3
_PRUNE_AT = 400_000


def cluster_keywords(texts: Mapping[int, Sequence[str]], config: TaxonomyConfig) -> dict[int, list[tuple[str, float]]]:
    """Find the keywords of every cluster.

    Of a cluster with more texts the first ``keyword_documents`` are read, so give a sample in an order that means
    nothing, or the best first.

    Returns per cluster at most ``config.keywords`` terms with their weight, best first, and none for a cluster without
    words. Ties are broken by the term, so the result does not depend on the order of the texts.
    """
    counts: dict[int, Counter[str]] = {}
    sizes: dict[int, int] = {}
    for k in sorted(texts):
        read = texts[k][: config.keyword_documents]
        counts[k] = _document_frequencies(read, config.keyword_chars)
        sizes[k] = len(read)
    clusters = [k for k in counts if sizes[k]]
    if not clusters:
        return {k: [] for k in counts}
    floor = {k: min(_MIN_DOCUMENTS, max(1, sizes[k] // 2)) for k in clusters}
    vocabulary = sorted({t for k in clusters for t, c in counts[k].items() if c >= floor[k]})
    position = {t: i for i, t in enumerate(vocabulary)}
    frequency = np.zeros((len(clusters), len(vocabulary)))
    for row, k in enumerate(clusters):
        for term, count in counts[k].items():
            if term in position:
                frequency[row, position[term]] = count / sizes[k]
    weight = np.sqrt(frequency) * np.log1p(1.0 / np.maximum(frequency.mean(axis=0), 1e-12))
    weight[:, _is_common(frequency, vocabulary)] = 0.0
    result: dict[int, list[tuple[str, float]]] = {k: [] for k in counts}
    for row, k in enumerate(clusters):
        result[k] = _distinct_best(vocabulary, weight[row], config.keywords)
    return result


def _document_frequencies(texts: Sequence[str], chars: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for number, text in enumerate(texts):
        tokens = tokenize(text[:chars])
        terms = {t for t in tokens if t is not None}
        for left, right in pairwise(tokens):
            if left is None or right is None or left == right:
                continue
            # pairs of characters overlap: a pair of pairs is a run of three
            terms.add(left + right[-1] if is_unspaced(left) and is_unspaced(right) else f"{left} {right}")
        counts.update(terms)
        if len(counts) > _PRUNE_AT:
            # what has been seen once in so many texts cannot become a keyword
            counts = Counter({t: c for t, c in counts.items() if c > 1 + number // 2000})
    return counts


def _is_common(frequency: NDArray[np.float64], vocabulary: Sequence[str]) -> NDArray[np.bool_]:
    if len(frequency) < 3:
        return np.zeros(frequency.shape[1], bool)
    spread = (frequency > COMMON_SHARE).mean(axis=0)
    common = spread > COMMON_CLUSTERS
    words = {t for t, c in zip(vocabulary, common, strict=True) if c}
    pairs = np.array([" " in t and any(w in words for w in t.split(" ")) for t in vocabulary], bool)
    return common | pairs


def _distinct_best(vocabulary: Sequence[str], weight: NDArray[np.float64], count: int) -> list[tuple[str, float]]:
    """Take the heaviest terms, skipping those that only repeat one already taken."""
    positive = np.flatnonzero(weight > 0)
    # the vocabulary is sorted, so a stable sort breaks ties by the term
    ranked = positive[np.argsort(-weight[positive], kind="stable")]
    taken: list[tuple[str, float]] = []
    seen: set[str] = set()
    for index in ranked[: 50 * count]:
        term = vocabulary[int(index)]
        stems = {_stem(w) for w in term.split(" ")}
        if stems <= seen or any(is_unspaced(term) and (term in t or t in term) for t, _ in taken):
            continue
        taken.append((term, float(weight[index])))
        seen |= stems
        if len(taken) == count:
            break
    return taken


def _stem(word: str) -> str:
    """Cut what makes a second form of a word, so that "symptom" and "symptoms" count as one."""
    for ending in ("'s", "ies", "es", "s"):
        if len(word) > len(ending) + 3 and word.endswith(ending) and not word.endswith("ss"):
            return word.removesuffix(ending)
    return word.removesuffix("e") if len(word) > 4 else word
