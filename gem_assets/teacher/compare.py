"""Compare the teacher's clusters with other clusterings of the same documents.

What the cluster report shows: balance, coherence by vectors and by words, drop in bigram loss, stability, and how
anisotropic the vectors are before and after the clusters' directions are taken out of them. Compared are the teacher
as it stands, the same mixture without balance (lambda 0), k-means, spherical k-means, a random partition, and the
source column as the taxonomy that was there before. Cost: five short fits on a few thousand documents with the defaults
of :class:`gem_assets.teacher.report_config.ClusterReportConfig`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from gem_assets.proxy.bigram_drop import BigramDrop
from gem_assets.teacher.baselines import ImportedTaxonomy, baseline
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import (
    Anisotropy,
    anisotropy,
    balance,
    cosine_coherence,
    pairwise_cosine,
    residuals,
)
from gem_assets.teacher.report_config import ClusterReportConfig
from gem_assets.teacher.stability import Maker, half_stability, reseeding_stability
from gem_assets.teacher.topics import WordPresence, cluster_npmi, topic_npmi, topic_words, word_presence

TEACHER = "GEM"
#: Refits to halves need this many documents per cluster to say anything.
LEAST_PER_CLUSTER = 20

Share = Annotated[float, Field(ge=0, le=1)]


class ClusteringFigures(BaseModel):
    """One clustering of the compared documents; None where it could not be measured.

    Attributes
    ----------
    clusters
        Number of clusters, empty ones included.
    n_eff_over_k, max_over_min, gini
        Balance; the second is None when a cluster is empty.
    cosine, pairwise, npmi
        Coherence by size: cosine to the centre, cosine of two documents, NPMI of topic words.
    bigram_drop
        Nats per token by which knowing the cluster lowers a bigram model's loss.
    reseeding, halves
        Adjusted Rand index between seeds, and between fits to two halves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    clusters: int
    n_eff_over_k: Share
    max_over_min: float | None
    gini: float
    cosine: float
    pairwise: float | None
    npmi: float | None
    bigram_drop: float | None
    reseeding: float | None
    halves: float | None


class OneCluster(BaseModel):
    """One of the teacher's clusters: share, mean cosine to its centre, NPMI of its words, and those words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    name: str
    documents: int
    share: Share
    cosine: float
    npmi: float | None
    kappa: float
    words: tuple[str, ...]


class ClusterReport(BaseModel):
    """Everything that the page shows; see the module.

    Attributes
    ----------
    documents
        Documents behind ``clusters``: all seed documents with a text.
    compared
        Documents behind ``clusterings``, drawn from them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: int
    compared: int
    clusterings: tuple[ClusteringFigures, ...]
    clusters: tuple[OneCluster, ...]
    anisotropy_before: Anisotropy
    anisotropy_after: Anisotropy


def cluster_report(
    teacher: GemTeacher,
    vectors: NDArray[np.float32],
    labels: NDArray[np.integer],
    texts: Sequence[str],
    sources: Sequence[str | None],
    names: Mapping[int, str],
    config: ClusterReportConfig,
) -> ClusterReport:
    """Measure the clusters of a teacher.

    Parameters
    ----------
    teacher
        Fitted; its settings are those of the refits.
    vectors
        Unit rows of the seed documents, shape (n, d).
    labels
        The teacher's, shape (n,).
    texts, sources
        Text and source of each, n.
    names
        Name of each cluster.
    config
        How many documents and refits.
    """
    n, k = len(vectors), teacher.theta.k
    presence = word_presence(texts, max_chars=config.text_chars)
    drawn = np.sort(np.random.default_rng(config.seed).permutation(n)[: config.documents])
    x = np.ascontiguousarray(vectors[drawn])
    some = [texts[int(i)] for i in drawn]
    words = WordPresence(presence.matrix[drawn], presence.words)
    drop = BigramDrop.of(some, vocab=config.vocabulary, max_chars=config.text_chars, seed=config.seed)
    compared = _Compared(x, words, drop if drop.held_out.any() and not drop.held_out.all() else None)
    settings = teacher.config.model_copy(update={"n_init": config.starts})
    refits = len(x) >= LEAST_PER_CLUSTER * k
    seeds = range(config.seed, config.seed + config.reseeds)

    def stable(make: Maker) -> tuple[float | None, float | None]:
        if not refits:
            return None, None
        return reseeding_stability(make, x, list(seeds)), half_stability(make, x, config.seed)

    def refit(seed: int) -> GemTeacher:
        return GemTeacher.from_config(settings.model_copy(update={"seed": seed}))

    found = [compared.figures(TEACHER, labels[drawn], k, *stable(refit))]
    if refits:
        plain = TeacherConfig.model_validate({**settings.model_dump(), "lam": 0.0, "target": None})
        found.append(compared.figures("vMF, no balance", GemTeacher.from_config(plain).fit(x).labels_, k))
    for name, method in (("spherical k-means", "spherical_kmeans"), ("k-means", "kmeans"), ("random", "random")):
        if len(x) < k:
            continue

        def make(seed: int, method: str = method):
            return baseline(method, k, seed=seed)

        stabilities = (None, None) if method == "random" else stable(make)
        found.append(compared.figures(name, make(config.seed).fit(x).labels_, k, *stabilities))
    column = ImportedTaxonomy([sources[int(i)] for i in drawn])
    if 1 < len(column.names_) <= config.most_sources:
        found.append(compared.figures("source column", column.labels_, len(column.names_)))
    return ClusterReport(
        documents=n,
        compared=len(x),
        clusterings=tuple(found),
        clusters=_clusters(teacher, vectors, labels, presence, names),
        anisotropy_before=anisotropy(vectors),
        anisotropy_after=anisotropy(residuals(vectors, labels, k)),
    )


class _Compared:
    """The documents on which clusterings are compared."""

    def __init__(self, x: NDArray[np.float32], words: WordPresence, drop: BigramDrop | None) -> None:
        self._x = x
        self._words = words
        self._drop = drop

    def figures(
        self,
        name: str,
        labels: NDArray[np.integer],
        k: int,
        reseeding: float | None = None,
        halves: float | None = None,
    ) -> ClusteringFigures:
        sizes = balance(labels, k)
        scored = np.isfinite(cluster_npmi(self._words, labels, k)).any()
        several = np.bincount(labels, minlength=k).max() > 1
        return ClusteringFigures(
            name=name,
            clusters=k,
            n_eff_over_k=min(sizes.n_eff_over_k, 1.0),
            max_over_min=None if sizes.empty else sizes.max_over_min,
            gini=sizes.gini,
            cosine=cosine_coherence(self._x, labels, k),
            pairwise=pairwise_cosine(self._x, labels, k) if several else None,
            npmi=topic_npmi(self._words, labels, k) if scored else None,
            bigram_drop=None if self._drop is None else self._drop(labels, k),
            reseeding=reseeding,
            halves=halves,
        )


def _clusters(
    teacher: GemTeacher,
    vectors: NDArray[np.float32],
    labels: NDArray[np.integer],
    presence: WordPresence,
    names: Mapping[int, str],
) -> tuple[OneCluster, ...]:
    k = teacher.theta.k
    sizes = np.bincount(labels, minlength=k)
    to_centre = np.einsum("ij,ij->i", vectors.astype(np.float64), teacher.theta.mu[labels])
    cosine = np.bincount(labels, to_centre, minlength=k) / np.maximum(sizes, 1)
    npmi = cluster_npmi(presence, labels, k)
    words = topic_words(presence, labels, k)
    return tuple(
        OneCluster(
            id=cluster,
            name=names.get(cluster, f"Cluster {cluster}"),
            documents=int(sizes[cluster]),
            share=float(sizes[cluster] / len(labels)),
            cosine=float(cosine[cluster]),
            npmi=float(npmi[cluster]) if np.isfinite(npmi[cluster]) else None,
            kappa=float(teacher.theta.kappa[cluster]),
            words=tuple(presence.words[j] for j in words[cluster]),
        )
        for cluster in range(k)
    )
