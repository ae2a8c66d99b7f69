"""Compare numbers of clusters: objective, coherence, balance, stability and, given texts, drop in bigram loss over K.

There is no K that the objective itself prefers (it rises with K), so the table is what a choice is made on: coherence
and loss drop that have stopped rising, stability that has not yet fallen. Stability is that of two fits on disjoint
halves of the rows, compared on all rows. Cost: three fits for each K. The picture is
:func:`gem_assets.report.cluster_plots.sweep_curves`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import balance, cosine_coherence, pairwise_cosine
from gem_assets.teacher.stability import half_stability

#: Drop in loss, nats per token, of labels (n,) with K clusters: :class:`gem_assets.proxy.bigram_drop.BigramDrop`.
LossDrop = Callable[[NDArray[np.integer], int], float]


@dataclass(frozen=True)
class SweepPoint:
    """One K.

    Attributes
    ----------
    objective
        F, nats per document.
    coherence, pairwise
        Mean cosine to the centre and between two documents of a cluster; the first rises with K by itself.
    stability
        Adjusted Rand index between the fits to two halves.
    n_eff_over_k, max_over_min
        Balance on all rows.
    bigram_drop
        Nats a token by which knowing the cluster lowers a bigram model's loss; None without texts.
    """

    k: int
    objective: float
    coherence: float
    pairwise: float
    stability: float
    n_eff_over_k: float
    max_over_min: float
    bigram_drop: float | None = None


def sweep_k(
    x: NDArray[np.floating],
    ks: Sequence[int],
    config: TeacherConfig,
    *,
    bigram_drop: LossDrop | None = None,
    progress: Callable[[SweepPoint], None] | None = None,
) -> list[SweepPoint]:
    """Fit each K on all rows and on two disjoint halves.

    Parameters
    ----------
    x
        Unit rows, shape (n, d).
    ks
        Numbers of clusters to try, each at least 2.
    config
        Settings of the fits; its ``k`` is replaced.
    bigram_drop
        Called with the labels of all rows and K.
    progress
        Called with each finished point.
    """
    points: list[SweepPoint] = []
    for k in ks:
        settings = TeacherConfig.model_validate({**config.model_dump(), "k": k})
        whole = GemTeacher.from_config(settings).fit(x)

        def make(seed: int, settings: TeacherConfig = settings) -> GemTeacher:  # noqa: ARG001
            return GemTeacher.from_config(settings)

        sizes = balance(whole.labels_, k)
        point = SweepPoint(
            k=k,
            objective=whole.objective_[-1],
            coherence=cosine_coherence(x, whole.labels_, k),
            pairwise=pairwise_cosine(x, whole.labels_, k),
            stability=half_stability(make, np.asarray(x, dtype=np.float32), config.seed),
            n_eff_over_k=sizes.n_eff_over_k,
            max_over_min=sizes.max_over_min,
            bigram_drop=None if bigram_drop is None else bigram_drop(whole.labels_, k),
        )
        points.append(point)
        if progress is not None:
            progress(point)
    return points
