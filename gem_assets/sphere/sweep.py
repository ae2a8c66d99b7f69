"""How many clusters: objective, coherence, balance and stability over a range of K.

There is no K that the objective itself prefers (it rises with K), so the table is what a choice is made on: coherence
that has stopped rising, stability that has not yet fallen. Stability is that of two fits on disjoint halves of the
rows, compared on all rows. Cost: three fits for each K.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gem_assets.sphere.config import TeacherConfig
from gem_assets.sphere.gem import GemTeacher
from gem_assets.sphere.metrics import balance, cosine_coherence, stability
from gem_assets.sphere.start import draw_rows


@dataclass(frozen=True)
class SweepPoint:
    """One K: objective per document, cosine coherence, ARI between half-data fits, and balance on all rows."""

    k: int
    objective: float
    coherence: float
    stability: float
    n_eff_over_k: float
    max_over_min: float


def sweep_k(
    x: NDArray[np.floating],
    ks: Sequence[int],
    config: TeacherConfig,
    *,
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
    progress
        Called with each finished point.
    """
    n = x.shape[0]
    first = draw_rows(n, n // 2, config.seed)
    second = np.setdiff1d(np.arange(n), first)
    points: list[SweepPoint] = []
    for k in ks:
        settings = TeacherConfig.model_validate({**config.model_dump(), "k": k})
        whole = GemTeacher.from_config(settings).fit(x)
        halves = [GemTeacher.from_config(settings).fit(np.asarray(x[half])).predict(x) for half in (first, second)]
        sizes = balance(whole.labels_, k)
        point = SweepPoint(
            k=k,
            objective=whole.objective_[-1],
            coherence=cosine_coherence(x, whole.labels_, k),
            stability=stability(halves),
            n_eff_over_k=sizes.n_eff_over_k,
            max_over_min=sizes.max_over_min,
        )
        points.append(point)
        if progress is not None:
            progress(point)
    return points
